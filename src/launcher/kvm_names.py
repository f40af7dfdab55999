#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tables of names from the kernel's header and from what this project adds to it.

kvm_names.py HEADER COMPILER...: C on standard output.  Ioctls of other
architectures have structures that are not there: those names are left out.
"""
import re
import subprocess
import sys

TABLES = (
    ('kvm_ioctl_names', r'KVM_[A-Z0-9_]+', r'_IO[RW]*\('),
    ('kvm_cap_names', r'KVM_CAP_[A-Z0-9_]+', r'\d+'),
    ('kvm_exit_names', r'KVM_EXIT_[A-Z0-9_]+', r'\d+'),
)
OTHERS = re.compile(r'KVM_(CAP_)?(S390|PPC|ARM|MIPS|RISCV|ALLOCATE_RMA|ARCH|'
                    r'CREATE_SPAPR|SPAPR|EXIT_IO_|EXIT_HYPERV_|EXIT_XEN_)|KVM_EXIT_.*_(IN|OUT)$')


def main():
    header, compiler = sys.argv[1], sys.argv[2:]
    macros = subprocess.run([*compiler, '-E', '-dM', '-include', header, '-x', 'c', '/dev/null'],
                            stdout=subprocess.PIPE, check=True, text=True).stdout
    definitions = re.findall(r'^#define (\w+) (.*)$', macros, re.M)
    types = subprocess.run([*compiler, '-E', '-P', '-include', header, '-x', 'c', '/dev/null'],
                           stdout=subprocess.PIPE, check=True, text=True).stdout
    print('/* Made by kvm_names.py. */')
    print('#include "kvm_names.h"\n\n#include "kvm_uapi.h"\n\n#include <sys/ioctl.h>\n')
    for table, name, value in TABLES:
        print(f'const struct kvm_name {table}[] = {{')
        for macro, text in sorted(definitions):
            if not re.fullmatch(name, macro) or not re.match(value, text) or OTHERS.match(macro):
                continue
            struct = re.search(r'struct (\w+)', text)
            if struct and not re.search(r'struct %s\s*{' % struct.group(1), types):
                continue
            print(f'    {{ {macro}, "{macro}" }},')
        print('    { 0, NULL },\n};\n')
    print('const size_t nr_kvm_ioctl_names =\n'
          '    sizeof(kvm_ioctl_names) / sizeof(kvm_ioctl_names[0]) - 1;')


main()
