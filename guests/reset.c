/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ends by port 0xcf9: with -no-reboot the machine ends, otherwise it starts over. */
#include "guest.h"

void guest_main(void)
{
    print("before the reset\n");
    reset_machine();
    for (unsigned n = 0; n < 1000000; n++)
        in8(0x3fd);
    check(false, "reset by port 0xcf9");
}
