/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fork(): locks of the whole process are taken around it, so that the child can
 * use what they cover; and a count that tells the child from its parent.
 */
#ifndef SOFTKVM_FORK_GUARD_H
#define SOFTKVM_FORK_GUARD_H

/* How many fork()s there are between the first process and this one. */
unsigned fork_generation(void);

/*
 * prepare() is called in the parent before, done() afterwards in both.  Takes
 * effect for later forks; for ever.
 */
void fork_guard_add(void (*prepare)(void), void (*done)(void));

#endif
