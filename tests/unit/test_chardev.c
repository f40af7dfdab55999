/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Chardevs with real clients: who is served when, what happens to output that
 * nobody takes, to sockets left over, to a terminal; and what is refused.
 */
#include "chardev.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

static char *dir;

/* --- A front end that records --- */

struct front {
    GString *got;
    GString *events;            /* o(pened) c(losed) d(rained) b(reak) + - (focus) */
    size_t room;
};

static size_t front_can_receive(void *opaque)
{
    struct front *f = opaque;

    return f->room;
}

static void front_receive(void *opaque, const void *data, size_t size)
{
    struct front *f = opaque;

    assert_in_range(size, 1, f->room);
    f->room -= size;
    g_string_append_len(f->got, data, (gssize)size);
}

static void front_opened(void *opaque)
{
    g_string_append_c(((struct front *)opaque)->events, 'o');
}

static void front_closed(void *opaque)
{
    g_string_append_c(((struct front *)opaque)->events, 'c');
}

static void front_drained(void *opaque)
{
    g_string_append_c(((struct front *)opaque)->events, 'd');
}

static void front_break(void *opaque)
{
    g_string_append_c(((struct front *)opaque)->events, 'b');
}

static void front_focus(void *opaque, bool in)
{
    g_string_append_c(((struct front *)opaque)->events, in ? '+' : '-');
}

#define FRONT_OPS \
    .can_receive = front_can_receive, .receive = front_receive, .opened = front_opened, \
    .closed = front_closed, .drained = front_drained, .line_break = front_break, \
    .focus = front_focus

static const struct chardev_front front_ops = { FRONT_OPS };
static const struct chardev_front background_ops = { FRONT_OPS, .background = true };

static struct front front_new(void)
{
    return (struct front){ g_string_new(NULL), g_string_new(NULL), SIZE_MAX };
}

static void front_clear(struct front *f)
{
    g_string_free(f->got, TRUE);
    g_string_free(f->events, TRUE);
}

/* --- Helpers --- */

static void run_loop(void)
{
    while (g_main_context_iteration(NULL, FALSE))
        ;
}

static struct chardev *open_chardev(const char *label, const char *format, ...)
{
    g_autoptr(GError) error = NULL;
    struct chardev *chr;
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    chr = label ? chardev_new(label, text, &error) : chardev_new_option(text, &error);
    if (!chr)
        fail_msg("%s: %s", text, error->message);
    return chr;
}

static char *path_of(const char *name)
{
    return g_build_filename(dir, name, NULL);
}

static int unix_client(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(addr.sun_path, path);
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        close(fd);
        return -errno;
    }
    run_loop();
    return fd;
}

static char *read_text(int fd)
{
    GString *text = g_string_new(NULL);
    char buf[4096];
    ssize_t n;

    fcntl(fd, F_SETFL, O_NONBLOCK);
    do {
        run_loop();
        n = read(fd, buf, sizeof(buf));
        if (n > 0)
            g_string_append_len(text, buf, n);
    } while (n > 0);
    return g_string_free(text, FALSE);
}

#define assert_reads(fd_, text_) do {               \
        g_autofree char *read_ = read_text(fd_);    \
        assert_string_equal(read_, text_);          \
    } while (0)

static void say(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    run_loop();
}

static bool at_end(int fd)
{
    char byte;

    run_loop();
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return read(fd, &byte, 1) == 0;
}

static int setup(void **state)
{
    dir = g_dir_make_tmp("cloister-chardev-XXXXXX", NULL);
    return dir ? 0 : -1;
}

static int teardown(void **state)
{
    chardev_free_all();
    rmdir(dir);
    g_free(dir);
    return 0;
}

/* --- Server sockets --- */

static void test_clients_come_one_after_another(void **state)
{
    g_autofree char *path = path_of("s");
    struct chardev *chr = open_chardev("serial0", "unix:%s,server=on,wait=off", path);
    struct front f = front_new();
    int first, second;

    assert_true(chardev_attach(chr, &front_ops, &f, NULL));
    assert_int_equal(chardev_write(chr, &f, "lost", 4), 4);    /* nobody there: dropped */
    first = unix_client(path);
    second = unix_client(path);
    assert_string_equal(f.events->str, "o");
    say(first, "one");
    say(second, "two");
    assert_string_equal(f.got->str, "one");
    chardev_write(chr, &f, "hello", 5);
    assert_reads(first, "hello");
    assert_reads(second, "");
    close(first);
    run_loop();
    assert_string_equal(f.events->str, "oco");
    assert_string_equal(f.got->str, "onetwo");
    chardev_write(chr, &f, "again", 5);
    assert_reads(second, "again");
    chardev_disconnect(chr);
    assert_true(at_end(second));
    assert_string_equal(f.events->str, "ococ");
    close(second);
    front_clear(&f);
}

/* A client that shuts down its sending half still gets all that was written to it. */
static void test_half_closed_client_gets_the_rest(void **state)
{
    g_autofree char *path = path_of("s");
    struct chardev *chr = open_chardev("c", "unix:%s,server=on,wait=off", path);
    static char block[40000];
    struct front f = front_new();
    size_t sent = 0, got = 0;
    char buf[4096];
    ssize_t n;
    int fd;

    memset(block, 'x', sizeof(block));
    assert_true(chardev_attach(chr, &front_ops, &f, NULL));
    fd = unix_client(path);
    while (sent < 1000000) {
        assert_true(chardev_write_all(chr, &f, block, sizeof(block), 2000000));
        sent += sizeof(block);
    }
    shutdown(fd, SHUT_WR);
    run_loop();
    assert_string_equal(f.events->str, "oc");
    assert_int_equal(chardev_write(chr, &f, "late", 4), 4);
    while ((n = read(fd, buf, sizeof(buf))) > 0) {
        got += (size_t)n;
        run_loop();
    }
    assert_int_equal(got, sent);
    close(fd);
    run_loop();
    fd = unix_client(path);
    assert_string_equal(f.events->str, "oco");
    close(fd);
    front_clear(&f);
}

static void test_output_is_held_back(void **state)
{
    g_autofree char *path = path_of("s");
    struct chardev *chr = open_chardev("c", "unix:%s,server=on,wait=off", path);
    struct front f = front_new();
    char block[1000];
    size_t taken = 0, n;
    int fd;

    memset(block, 'x', sizeof(block));
    assert_true(chardev_attach(chr, &front_ops, &f, NULL));
    fd = unix_client(path);
    while ((n = chardev_write(chr, &f, block, sizeof(block))) == sizeof(block)) {
        taken += n;
        run_loop();
        assert_true(taken < 100000000);
    }
    taken += n;
    assert_true(chardev_congested(chr));
    assert_string_equal(f.events->str, "o");
    g_autofree char *text = read_text(fd);

    assert_int_equal(strlen(text), taken);
    assert_false(chardev_congested(chr));
    assert_string_equal(f.events->str, "od");
    close(fd);
    front_clear(&f);
}

static void test_too_much_output_closes(void **state)
{
    g_autofree char *path = path_of("s");
    struct chardev *chr = open_chardev("c", "unix:%s,server=on,wait=off", path);
    static char block[100000];
    struct front f = front_new();
    unsigned rounds = 0;
    int fd;

    assert_true(chardev_attach(chr, &front_ops, &f, NULL));
    fd = unix_client(path);
    while (chardev_write_all(chr, &f, block, sizeof(block), 1000000))
        assert_true(rounds++ < 100);
    run_loop();
    assert_string_equal(f.events->str, "oc");
    close(fd);
    front_clear(&f);
}

static void test_client_dies_while_output_is_queued(void **state)
{
    g_autofree char *path = path_of("s");
    struct chardev *chr = open_chardev("c", "unix:%s,server=on,wait=off", path);
    static char block[500000];
    struct front f = front_new();
    int fd;

    assert_true(chardev_attach(chr, &front_ops, &f, NULL));
    fd = unix_client(path);
    assert_true(chardev_write_all(chr, &f, block, sizeof(block), 1000000));
    close(fd);
    run_loop();
    assert_string_equal(f.events->str, "oc");
    fd = unix_client(path);
    assert_string_equal(f.events->str, "oco");
    assert_reads(fd, "");               /* nothing of the last client's */
    close(fd);
    front_clear(&f);
}

static void test_input_waits_for_room(void **state)
{
    g_autofree char *path = path_of("s");
    struct chardev *chr = open_chardev("c", "unix:%s,server=on,wait=off", path);
    struct front f = front_new();
    int fd;

    f.room = 2;
    assert_true(chardev_attach(chr, &front_ops, &f, NULL));
    fd = unix_client(path);
    say(fd, "abcdef");
    assert_string_equal(f.got->str, "ab");
    f.room = 3;
    chardev_accept_input(chr);
    run_loop();
    assert_string_equal(f.got->str, "abcde");
    close(fd);
    f.room = 100;
    chardev_accept_input(chr);
    run_loop();
    assert_string_equal(f.got->str, "abcdef");
    assert_string_equal(f.events->str, "oc");
    front_clear(&f);
}

/* --- Socket files --- */

static void test_socket_file(void **state)
{
    g_autofree char *path = path_of("s");
    struct chardev *chr = open_chardev("c", "unix:%s,server=on,wait=off", path);
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    chardev_free(chr);
    assert_int_equal(stat(path, &st), -1);

    /* Somebody else's file in the same place stays. (Old spelling of the options.) */
    chr = open_chardev("c", "unix:%s,server,nowait", path);
    unlink(path);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    chardev_free(chr);
    assert_int_equal(stat(path, &st), 0);
    unlink(path);
}

static bool refused(const char *text, const char *with)
{
    g_autoptr(GError) error = NULL;
    struct chardev *chr = chardev_new("refused", text, &error);

    if (chr || !strstr(error->message, with))
        fail_msg("%s: %s, wanted %s", text, chr ? "accepted" : error->message, with);
    return true;
}

static void test_stale_socket_is_replaced(void **state)
{
    g_autofree char *path = path_of("s"), *text = NULL;
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    strcpy(addr.sun_path, path);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(fd, 1), 0);
    text = g_strdup_printf("unix:%s,server=on,wait=off", path);
    refused(text, "Failed to bind socket to");          /* somebody listens */
    close(fd);
    open_chardev("c", "%s", text);
    chardev_free_all();

    close(open(path, O_CREAT | O_WRONLY, 0600));        /* no socket at all */
    refused(text, "Failed to bind socket to");
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
}

/* --- TCP, files --- */

static void test_tcp_is_loopback_unless_said(void **state)
{
    struct chardev *chr = open_chardev("c", "tcp::0,server=on,wait=off,nodelay=on");
    g_autofree char *name = chardev_filename(chr);
    struct sockaddr_in addr = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct front f = front_new();
    unsigned port = 0;

    assert_int_equal(sscanf(name, "disconnected:tcp:127.0.0.1:%u,server=on", &port), 1);
    assert_true(chardev_attach(chr, &front_ops, &f, NULL));
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    addr.sin_port = htons((uint16_t)port);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    run_loop();
    say(fd, "hi");
    assert_string_equal(f.got->str, "hi");

    /* And the other way round: we are the client. */
    struct chardev *client = open_chardev("d", "tcp:localhost:%u", port);

    close(fd);
    run_loop();
    chardev_write(client, NULL, "ho", 2);
    run_loop();
    assert_string_equal(f.got->str, "hiho");
    front_clear(&f);
}

static void test_file(void **state)
{
    g_autofree char *path = path_of("a=b"), *text = NULL;
    struct chardev *chr = open_chardev("c", "file:%s", path);

    chardev_write(chr, NULL, "one", 3);
    chardev_free(chr);
    chr = open_chardev(NULL, "file,id=f,path=%s,append=on", path);
    chardev_write(chr, NULL, "two", 3);
    chardev_free(chr);
    assert_true(g_file_get_contents(path, &text, NULL, NULL));
    assert_string_equal(text, "onetwo");
    unlink(path);
}

static void test_full_file_is_one_error(void **state)
{
    struct chardev *chr = open_chardev("c", "file:/dev/full");
    struct front f = front_new();

    assert_true(chardev_attach(chr, &front_ops, &f, NULL));
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(chardev_write(chr, &f, "x", 1), 1);
        run_loop();
    }
    assert_string_equal(f.events->str, "oc");
    front_clear(&f);
}

/* --- Several front ends --- */

static void test_multiplexer(void **state)
{
    g_autofree char *path = path_of("s");
    struct chardev *chr = open_chardev("c", "mon:unix:%s,server=on,wait=off", path);
    struct front serial = front_new(), monitor = front_new();
    int fd;

    assert_true(chardev_wants_monitor(chr));
    assert_false(chardev_wants_monitor(chr));
    assert_true(chardev_attach(chr, &background_ops, &monitor, NULL));
    assert_true(chardev_attach(chr, &front_ops, &serial, NULL));
    fd = unix_client(path);
    say(fd, "guest");
    say(fd, "\001\001");
    say(fd, "\001b");
    assert_string_equal(serial.got->str, "guest\001");
    assert_string_equal(serial.events->str, "+ob");
    assert_string_equal(monitor.events->str, "+-o");
    say(fd, "a\001cinfo\001cb");
    assert_string_equal(serial.got->str, "guest\001ab");
    assert_string_equal(monitor.got->str, "info");
    assert_string_equal(serial.events->str, "+ob-+");
    chardev_write(chr, &serial, "S", 1);
    chardev_write(chr, &monitor, "M", 1);
    assert_reads(fd, "SM");
    say(fd, "\001h");
    g_autofree char *help = read_text(fd);

    assert_non_null(strstr(help, "C-a x    exit"));
    close(fd);
    run_loop();
    front_clear(&serial);
    front_clear(&monitor);
}

static unsigned quits;

static void count_quit(void *opaque)
{
    quits++;
}

/* The guest takes nothing any more: what is typed ahead is kept, and Ctrl-A still works. */
static void test_escape_works_beside_a_hung_guest(void **state)
{
    g_autofree char *path = path_of("s");
    struct chardev *chr = open_chardev("c", "mon:unix:%s,server=on,wait=off", path);
    struct front serial = front_new();
    int fd;

    chardev_set_quit(count_quit, NULL);
    serial.room = 0;
    assert_true(chardev_attach(chr, &front_ops, &serial, NULL));
    fd = unix_client(path);
    for (unsigned i = 0; i < 50; i++)
        say(fd, "typed");
    say(fd, "\001x");
    assert_int_equal(quits, 1);
    serial.room = SIZE_MAX;
    chardev_accept_input(chr);
    run_loop();
    assert_int_equal(serial.got->len, 250);
    chardev_set_quit(NULL, NULL);
    close(fd);
    front_clear(&serial);
}

static void test_one_front_end_without_mux(void **state)
{
    g_autoptr(GError) error = NULL;
    struct chardev *chr = open_chardev("c", "null");
    struct front a = front_new(), b = front_new();

    assert_true(chardev_attach(chr, &front_ops, &a, NULL));
    assert_string_equal(a.events->str, "o");
    assert_false(chardev_attach(chr, &front_ops, &b, &error));
    assert_string_equal(error->message, "chardev 'c' is in use already");
    chardev_detach(chr, &a);
    assert_true(chardev_attach(chr, &front_ops, &b, NULL));
    front_clear(&a);
    front_clear(&b);
}

static void test_shared_by_id(void **state)
{
    g_autoptr(GError) error = NULL;
    struct chardev *chr = open_chardev(NULL, "null,id=n0");

    assert_ptr_equal(chardev_new("serial0", "chardev:n0", &error), chr);
    assert_null(chardev_new("serial0", "chardev:none", &error));
    assert_string_equal(error->message, "chardev \"none\" not found");
}

/* --- Terminals --- */

static void test_pty(void **state)
{
    struct chardev *chr = open_chardev("c", "pty");
    g_autofree char *name = chardev_filename(chr);
    struct front f = front_new();
    int fd;

    assert_true(chardev_attach(chr, &front_ops, &f, NULL));
    chardev_write(chr, &f, "lost", 4);
    fd = open(strstr(name, "/dev/"), O_RDWR | O_NOCTTY | O_NONBLOCK);
    assert_true(fd >= 0);
    for (unsigned i = 0; i < 200 && !f.events->len; i++) {
        g_usleep(10000);
        run_loop();
    }
    assert_string_equal(f.events->str, "o");
    say(fd, "in");
    chardev_write(chr, &f, "out", 3);
    assert_reads(fd, "out");
    assert_string_equal(f.got->str, "in");
    close(fd);
    run_loop();
    assert_string_equal(f.events->str, "oc");
    front_clear(&f);
}

/* In a child on a terminal of its own: raw while used, put back afterwards. */
static int stdio_child(int slave)
{
    struct termios before, during, after;
    struct chardev *chr;
    int flags = fcntl(slave, F_GETFL);

    dup2(slave, STDIN_FILENO);
    dup2(slave, STDOUT_FILENO);
    if (tcgetattr(slave, &before) < 0 || !(before.c_lflag & ICANON))
        return 10;
    chr = chardev_new("c", "mon:stdio", NULL);
    if (!chr || chardev_new("d", "stdio", NULL))
        return 11;
    tcgetattr(slave, &during);
    if (!(during.c_lflag & ICANON))
        return 15;              /* not before the main loop runs */
    run_loop();
    tcgetattr(slave, &during);
    if (during.c_lflag & (ICANON | ECHO | ISIG) || !(during.c_oflag & OPOST))
        return 12;
    chardev_write(chr, NULL, "out", 3);
    chardev_free_all();
    tcgetattr(slave, &after);
    if (before.c_lflag != after.c_lflag || before.c_iflag != after.c_iflag)
        return 13;
    return fcntl(slave, F_GETFL) == flags ? 0 : 14;
}

static void test_stdio_restores_the_terminal(void **state)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY), slave, status;
    pid_t pid;

    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    pid = fork();
    if (pid == 0)
        _exit(stdio_child(slave));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_reads(master, "out");
    close(master);
    close(slave);
}

static int stdio_pipe_child(int in, int out)
{
    struct front f = front_new();
    struct chardev *chr;

    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    chr = chardev_new("c", "stdio", NULL);
    if (!chr || !chardev_attach(chr, &front_ops, &f, NULL))
        return 10;
    while (f.got->len < 5)
        g_main_context_iteration(NULL, TRUE);
    run_loop();
    chardev_write(chr, &f, f.got->str, f.got->len);     /* output goes on after the input's end */
    chardev_free_all();
    return strcmp(f.events->str, "o") == 0 ? 0 : 11;
}

static void test_stdio_on_pipes(void **state)
{
    int in[2], out[2], status;
    pid_t pid;

    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    pid = fork();
    if (pid == 0) {
        close(in[1]);
        _exit(stdio_pipe_child(in[0], out[1]));
    }
    assert_int_equal(write(in[1], "abcde", 5), 5);
    close(in[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_reads(out[0], "abcde");
    close(in[0]);
    close(out[0]);
    close(out[1]);
}

/* --- Other threads --- */

enum { THREADS = 3, MESSAGES = 20000 };

static struct chardev *shared;

static void *writer(void *arg)
{
    char message[4] = { '<', (char)('0' + (int)(intptr_t)arg), '>', '\n' };

    for (unsigned i = 0; i < MESSAGES;) {
        size_t n = chardev_write(shared, NULL, message, sizeof(message));

        assert_true(n <= sizeof(message));
        /* Too full: the rest, when there is room again. */
        for (size_t done = n; done < sizeof(message); done += n) {
            g_usleep(50);
            n = chardev_write(shared, NULL, message + done, sizeof(message) - done);
        }
        chardev_accept_input(shared);
        i++;
    }
    return NULL;
}

static void test_writers_on_other_threads(void **state)
{
    g_autofree char *path = path_of("s");
    pthread_t threads[THREADS];
    size_t total = 0;
    char buf[4096];
    ssize_t n;
    int fd;

    shared = open_chardev("c", "unix:%s,server=on,wait=off", path);
    fd = unix_client(path);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (intptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, writer, (void *)i), 0);
    while (total < THREADS * MESSAGES * 4) {
        run_loop();
        n = read(fd, buf, sizeof(buf));
        if (n > 0)
            total += (size_t)n;
        else
            assert_int_equal(errno, EAGAIN);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(total, THREADS * MESSAGES * 4);
    close(fd);
}

/* --- What is refused --- */

static void test_refusals(void **state)
{
    static const struct {
        const char *text, *with;
    } legacy[] = {
        { "foo", "'foo' is not a valid char driver" },
        { "", "'' is not a valid char driver" },
        { "stdiox", "is not a valid char driver" },
        { "telnet::1", "is not a valid char driver" },
        { "unix:", "path '' is empty" },
        { "unix:/nonexistent/s,server=on,wait=off", "Failed to bind socket to /nonexistent/s" },
        { "unix:/nonexistent/s", "Failed to connect to '/nonexistent/s'" },
        { "unix:/x,server=maybe", "Parameter 'server' expects 'on' or 'off'" },
        { "unix:/x,bogus=1", "Invalid parameter 'bogus'" },
        { "unix:/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "too long" },
        { "tcp:nowhere", "a TCP address is [HOST]:PORT" },
        { "tcp::", "a TCP address is [HOST]:PORT" },
        { "tcp::99999,server=on,wait=off", "TCP port 99999 is larger than 65535" },
        { "tcp:127.0.0.1:1", "Failed to connect to '127.0.0.1:1'" },
        { "file:", "no filename" },
        { "file:/nonexistent/f", "Could not open '/nonexistent/f'" },
        { "null,x=1", "Invalid parameter 'x'" },
        { "mon:foo", "'foo' is not a valid char driver" },
    };
    static const struct {
        const char *text, *with;
    } options[] = {
        { "", "Parameter 'backend' is missing" },
        { "foo,id=x", "'foo' is not a valid char driver name" },
        { "null", "Parameter 'id' is missing" },
        { "socket,id=x", "exactly one of 'path', 'port' and 'fd'" },
        { "socket,id=x,path=/a,port=1", "exactly one of 'path', 'port' and 'fd'" },
        { "socket,id=x,fd=0x", "is not a stream socket" },
        { "socket,id=x,fd=12345", "is not a stream socket" },
        { "null,id=x,path=/a", "Invalid parameter 'path'" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(legacy); i++)
        refused(legacy[i].text, legacy[i].with);
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        g_autoptr(GError) error = NULL;

        assert_null(chardev_new_option(options[i].text, &error));
        if (!strstr(error->message, options[i].with))
            fail_msg("%s: %s, wanted %s", options[i].text, error->message, options[i].with);
    }
}

static void test_duplicate_label(void **state)
{
    g_autoptr(GError) error = NULL;

    open_chardev(NULL, "null,id=x");
    assert_null(chardev_new_option("null,id=x", &error));
    assert_string_equal(error->message, "Duplicate ID 'x' for chardev");
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_clients_come_one_after_another), TEST(test_half_closed_client_gets_the_rest),
        TEST(test_output_is_held_back), TEST(test_too_much_output_closes),
        TEST(test_client_dies_while_output_is_queued), TEST(test_input_waits_for_room),
        TEST(test_socket_file), TEST(test_stale_socket_is_replaced),
        TEST(test_tcp_is_loopback_unless_said), TEST(test_file),
        TEST(test_full_file_is_one_error), TEST(test_multiplexer),
        TEST(test_escape_works_beside_a_hung_guest), TEST(test_one_front_end_without_mux),
        TEST(test_shared_by_id), TEST(test_pty), TEST(test_stdio_restores_the_terminal),
        TEST(test_stdio_on_pipes), TEST(test_writers_on_other_threads), TEST(test_refusals),
        TEST(test_duplicate_label),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
