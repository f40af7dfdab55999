/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line: each bad option is one error that names it; good ones land where they belong. */
#include "config.h"
#include "memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Words separated by blanks, after the program's name. */
static bool parse(const char *line, struct machine_config *cfg, GError **error)
{
    g_autofree char *whole = g_strconcat("cloister ", line, NULL);
    g_auto(GStrv) words = g_strsplit(whole, " ", -1);

    config_init(cfg);
    return options_parse(g_strv_length(words), words, cfg, error);
}

static const struct {
    const char *line;
    const char *message;        /* what the error begins with */
} bad[] = {
    { "-nosuch", "-nosuch: invalid option: " },
    { "--nosuch x", "--nosuch: invalid option: " },
    { "disk.img", "'disk.img': " },
    { "-", "'-': " },
    { "-m", "-m: requires an argument: " },
    { "-m 0", "-m: '0' is not a multiple" },
    { "-m 1G1", "-m: '1G1' is not a size: " },
    { "-m -5", "-m: '-5' is not a size: " },
    { "-m 1025B", "-m: " },
    { "-m 99999999999999999999", "-m: '99999999999999999999' is not a size: " },
    { "-m 18446744073709551615", "-m: '18446744073709551615' is not a size: " },
    { "-m 64,slots=2", "-m: missing 'maxmem' option value: " },
    { "-m 64,maxmem=1G,slots=257", "-m: invalid number of memory slots: 257: up to 256" },
    { "-m 64,maxmem=1G,slots=x", "-m: slots='x' is not a number" },
    { "-m 2G,maxmem=1G", "-m: invalid value of maxmem: maximum memory size (0x40000000) must" },
    { "-m 64,maxmem=0", "-m: '0' is not a multiple" },
    { "-m 64,nosuch=1", "-m: Invalid parameter 'nosuch': " },
    { "-smp 0", "-smp: cpus='0' is not a number" },
    { "-smp 65", "-smp: 65 CPUs are too many: up to 64" },
    { "-smp x", "-smp: cpus='x' is not a number" },
    { "-smp 2,books=1", "-smp: Invalid parameter 'books': " },
    { "-smp 4,cores=3", "-smp: sockets (1) * dies (1) * cores (3)" },
    { "-smp 4,sockets=2", "-smp: all CPUs sit in one socket" },
    { "-smp 4,threads=2", "-smp: all CPUs sit in one socket" },
    { "-smp 2,maxcpus=4", "-smp: maxcpus=4: " },
    { "-cpu qemu64", "-cpu: unable to find CPU model 'qemu64': " },
    { "-cpu host,+avx", "-cpu: unable to find CPU model" },
    { "-machine pc", "-machine: unsupported machine type 'pc': q35" },
    { "-M q35,nosuch=1", "-M: Property 'q35-machine.nosuch' not found: " },
    { "-M q35,kvm-type=sev-snp", "-M: " },
    { "-M q35,smm=maybe", "-M: Parameter 'smm' " },
    { "-M q35,kernel-irqchip=split", "-M: kernel-irqchip: " },
    { "-M q35,accel=tcg", "-M: invalid accelerator 'tcg': kvm or soft" },
    { "-M q35,accel=", "-M: invalid accelerator '': " },
    { "-accel tcg", "-accel: invalid accelerator 'tcg': kvm or soft" },
    { "-accel kvm,kernel-irqchip=off", "-accel: 'kvm,kernel-irqchip=off': " },
    { "-accel soft,memory-attributes=vm3", "-accel: " },
    { "-accel soft,speed=9", "-accel: Property 'soft-accel.speed' not found: " },
    { "-display gtk", "-display: 'gtk' is not there: none" },
    { "-vga std", "-vga: 'std' is not there: none" },
    { "-net user", "-net: 'user' is not there: none" },
    { "-bios", "-bios: requires an argument" },
    { "-pflash", "-pflash: requires an argument" },
    { "-global a.b=1", "-global: 'a.b=1': only isa-debugcon.iobase=" },
    { "-global isa-debugcon.iobase=x", "-global: Parameter 'isa-debugcon.iobase' expects a" },
    { "-global isa-debugcon.iobase", "-global: 'isa-debugcon.iobase': only" },
    { "-global q35-pcihost.smm-ranges=maybe", "-global: Parameter 'q35-pcihost.smm-ranges' " },
    { "-hda disk.img", "-hda: " },
    { "-gdb", "-gdb: " },
    { "-uuid 12", "-uuid: '12' is not a UUID: " },
    { "-name x,process=y", "-name: Invalid parameter 'process': " },
    { "-mon mode=control", "-mon: Parameter 'chardev' is missing" },
    { "-mon c,mode=foo", "-mon: Parameter 'mode' does not accept value 'foo'" },
    { "-mon c,pretty=on", "-mon: pretty=on " },
    { "-mon c,color=on", "-mon: Invalid parameter 'color': " },
    { "-d exec", "-d: 'exec' is not a log item: " },
    { "-trace x,depth=2", "-trace: Invalid parameter 'depth': " },
    { "-initrd x", "-initrd: only with a kernel: " },
    { "-append x", "-append: only with a kernel: " },
    { "-serial null -serial null -serial null -serial null -serial null", "-serial: 5 ports: " },
    { "-daemonize -nographic", "-daemonize: not together with -nographic: " },
};

static void test_bad_options_are_one_error_each(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        struct machine_config cfg;
        bool ok = parse(bad[i].line, &cfg, &error);

        if (ok || !g_str_has_prefix(error->message, bad[i].message))
            fail_msg("'%s': got '%s', want '%s...'", bad[i].line, ok ? "no error" : error->message,
                     bad[i].message);
        if (strchr(error->message, '\n'))
            fail_msg("'%s': more than one line", bad[i].line);
        config_clear(&cfg);
    }
}

static void test_values_land_where_they_belong(void **state)
{
    g_autoptr(GError) error = NULL;
    struct machine_config cfg;

    assert_true(parse("-machine q35,kvm-type=sw-protected-vm,memory-backend=mem0 -M accel=kvm:soft "
                      "-m size=1G -smp 4,cores=4 -cpu host -kernel k -initrd i -append a "
                      "--name vm1,debug-threads=on -S -no-reboot -no-shutdown -pidfile p "
                      "-qmp unix:/q,server=on -mon c0,mode=control,pretty=on -monitor none "
                      "-serial stdio -d trace:kvm_* -D log", &cfg, &error));
    assert_null(error);
    assert_true(machine_kvm_type(&cfg.machine)->memory == KVM_TYPE_PRIVATE);
    assert_string_equal(cfg.machine.memory_backend, "mem0");
    assert_int_equal(cfg.accels->len, 2);
    assert_string_equal(g_ptr_array_index(cfg.accels, 1), "soft");
    assert_int_equal(cfg.ram_size, 1 << 30);
    assert_int_equal(cfg.cpus, 4);
    assert_string_equal(cfg.kernel, "k");
    assert_string_equal(cfg.append, "a");
    assert_string_equal(cfg.name, "vm1");
    assert_true(cfg.stopped && cfg.no_reboot && cfg.no_shutdown);
    assert_int_equal(cfg.monitors->len, 2);
    assert_int_equal(((struct monitor_option *)g_ptr_array_index(cfg.monitors, 1))->mode,
                     MONITOR_QMP_PRETTY);
    assert_string_equal(((struct monitor_option *)g_ptr_array_index(cfg.monitors, 1))->chardev,
                        "chardev:c0");
    assert_string_equal(g_ptr_array_index(cfg.traces, 0), "kvm_*");
    assert_string_equal(cfg.trace_file, "log");
    config_clear(&cfg);
}

static const struct {
    const char *line;
    const char *serial;         /* NULL: none */
    unsigned monitors;
} defaults[] = {
    { "", "mon:stdio", 0 },
    { "-nographic", "mon:stdio", 0 },
    { "-nographic -monitor none", "stdio", 0 },
    { "-nographic -qmp null", "stdio", 1 },
    { "-nographic -nodefaults", NULL, 0 },
    { "-display none", NULL, 0 },
    { "-nographic -serial null", "null", 1 },
    { "-nographic -serial stdio", "stdio", 0 },
    { "-nographic -serial none", NULL, 1 },
    { "-serial none -monitor none", NULL, 0 },
    { "-daemonize", NULL, 0 },
};

static void test_default_serial_and_monitor(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(defaults); i++) {
        struct machine_config cfg;
        const char *line = *defaults[i].line ? defaults[i].line : "-S";

        assert_true(parse(line, &cfg, NULL));
        if (cfg.monitors->len != defaults[i].monitors)
            fail_msg("'%s': %u monitors", line, cfg.monitors->len);
        if (cfg.serials->len != (defaults[i].serial ? 1 : 0))
            fail_msg("'%s': %u serial ports", line, cfg.serials->len);
        if (defaults[i].serial)
            assert_string_equal(g_ptr_array_index(cfg.serials, 0), defaults[i].serial);
        config_clear(&cfg);
    }
}

static void test_size_without_suffix_is_in_mib(void **state)
{
    static const struct {
        const char *line;
        uint64_t size;
    } rows[] = {
        { "-m 256", 256ULL << 20 }, { "-m 2G", 2ULL << 30 }, { "-m size=64K", 64 << 10 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct machine_config cfg;

        assert_true(parse(rows[i].line, &cfg, NULL));
        assert_int_equal(cfg.ram_size, rows[i].size);
        config_clear(&cfg);
    }
}

static void test_help_prints_and_does_nothing_else(void **state)
{
    static const struct {
        const char *line, *text;
    } rows[] = {
        { "-help", "-kernel" }, { "-version", "cloister version" }, { "-M help", "q35" },
        { "-machine q35,help", "kvm-type=<default|sw-protected-vm|sev>" }, { "-accel help", "soft" },
        { "-object help", "memory-backend-guest-memfd" },
        { "-chardev help", "socket: path=<string>" },
        { "-object memory-backend-ram,help", "size" },
        { "-trace help", "kvm_memory_fault" }, { "-cpu help", "host" }, { "-d help", "trace:" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct machine_config cfg;

        assert_true(parse(rows[i].line, &cfg, NULL));
        if (!cfg.print || !strstr(cfg.print, rows[i].text))
            fail_msg("'%s' doesn't print '%s'", rows[i].line, rows[i].text);
        config_clear(&cfg);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_options_are_one_error_each),
        cmocka_unit_test(test_values_land_where_they_belong),
        cmocka_unit_test(test_default_serial_and_monitor),
        cmocka_unit_test(test_size_without_suffix_is_in_mib),
        cmocka_unit_test(test_help_prints_and_does_nothing_else),
    };

    memory_register_backends();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
