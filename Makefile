# SPDX-License-Identifier: LGPL-2.1-or-later
# The whole surface of the build; Meson does the work.  `make help` lists the targets.

BUILD ?= build
# The demo's guest: Debian's cloud kernel and a busybox initrd unless told otherwise.
KERNEL ?=
INITRD ?=
# The guest's kernel with its symbols, for `make crash`.
VMLINUX ?=
# Seconds for each fuzz target of `make fuzz`.
FUZZ_SECONDS ?= 600
# Seconds of `make hostile`, of `make conversions`, of `make soak`.
SECONDS ?=
PREFIX ?= /usr/local
DESTDIR ?=

.PHONY: all deps demo check boots grow soak hostile conversions crash bench selftests vmms fuzz sanitize asan tsan tsan-linux gcc-werror clang install clean help guest-files

all: $(BUILD)/build.ninja ## build everything into build/
	ninja -C $(BUILD)

$(BUILD)/build.ninja: | deps
	meson setup $(BUILD)

deps: ## install the Debian packages that build, tests and demo need
	@tools/deps.sh

guest-files: all ## fetch the Debian cloud kernel and make the initrd
	@tools/guest/files.sh $(BUILD)/guest

demo: all guest-files ## boot a stock kernel in a protected VM; share pages and take them back
	@python3 tools/demo.py --build $(BUILD) $(if $(KERNEL),--kernel '$(KERNEL)') $(if $(INITRD),--initrd '$(INITRD)')

check: all guest-files ## run the tests
	@tests/run.sh $(BUILD)

boots: all guest-files ## the kernel in every spelling with 1, 2 and 4 CPUs, then 20 boots in a row
	@python3 tests/machine/linux.py --binary $(BUILD)/cloister --files $(BUILD)/guest every-way

grow: all guest-files ## virtio-mem in protected VMs: 256 MiB to 1 GiB and back in every spelling, a table
	@python3 tests/machine/devices.py --binary $(BUILD)/cloister --files $(BUILD)/guest --all \
	    memory-private

bench: all guest-files ## every figure that the documents quote
	@tools/deps.sh bench
	@python3 bench/run.py --build $(BUILD)

selftests: all ## the kernel's own KVM tests (source package linux-source-6.12) under softkvm
	@python3 tests/selftests/run.py --launcher $(BUILD)/softkvm

vmms: all guest-files ## QEMU's -accel kvm on softkvm: machines, processors, firmware; and beside its TCG
	@tools/deps.sh vmms
	@python3 tests/launcher/qemu.py --build $(BUILD) --files $(BUILD)/guest --compare
	@python3 tests/launcher/qemu_owner.py --build $(BUILD) --files $(BUILD)/guest

nested: all guest-files ## softkvm held against a real KVM with private memory, emulated by QEMU
	@tests/nested/host.sh deps
	@tests/nested/host.sh build
	@python3 tests/nested/run.py --build $(BUILD)

crash: all guest-files ## dumps in crash, drgn, makedumpfile; VMLINUX=: the guest's kernel with symbols
	@python3 tests/debug/crash.py --binary $(BUILD)/cloister --files $(BUILD)/guest $(if $(VMLINUX),--vmlinux '$(VMLINUX)')

hostile: | deps ## every KVM ioctl at random for SECONDS (600); KVM=kernel: on /dev/kvm too
	@tests/kvm/hostile.sh $(BUILD) $(or $(SECONDS),600) $(if $(KVM),--$(KVM))

conversions: | deps ## memory converted while vCPUs use it, under the thread sanitizer, SECONDS (60) each
	@tests/kvm/converting.sh $(BUILD) $(or $(SECONDS),60)

soak: all ## everything at once in every spelling, SECONDS (3600) in all; SEED=N repeats one, BUILD= any build
	@python3 tests/soak/soak.py --binary $(BUILD)/cloister --guests $(BUILD)/guests \
	    --seconds $(or $(SECONDS),3600) $(if $(SEED),--seed $(SEED))

# The test suite under the sanitizers and with the other compiler: each in a build folder of its own.
asan: | deps ## tests under the address and undefined-behaviour sanitizers
	@tests/variant.sh $(BUILD) asan -Db_sanitize=address,undefined -Db_lundef=false

tsan tsan-linux: | deps ## tests under the thread sanitizer; the Linux boots apart, they are slow there
	@tests/variant.sh $(BUILD) $@ -Db_sanitize=thread -Db_lundef=false

clang: | deps ## tests built by clang, warnings are errors
	@CC=clang tests/variant.sh $(BUILD) clang --werror

gcc-werror: | deps ## tests built by gcc, warnings are errors
	@tests/variant.sh $(BUILD) gcc --werror

sanitize: asan tsan ## both sanitizer runs

fuzz: | deps ## each fuzz target for FUZZ_SECONDS
	@tests/fuzz/run.sh $(BUILD)-fuzz $(FUZZ_SECONDS)

install: all ## programs, library, manual pages and pkg-config file below PREFIX
	meson configure $(BUILD) -Dprefix=$(PREFIX)
	DESTDIR=$(DESTDIR) meson install -C $(BUILD)

clean: ## remove build/
	rm -rf $(BUILD) $(BUILD)-*

help: ## this list
	@sed -n 's/^\([a-z -]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 24
