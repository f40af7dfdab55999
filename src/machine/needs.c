/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What was asked for, as far as several options have to agree: what KVM must offer for it. */
#include "machine_internal.h"

#include "error.h"
#include "range.h"

bool machine_find_backend(const struct machine_config *cfg, struct memory_backend **ret,
                          GError **error)
{
    const char *id = cfg->machine.memory_backend;
    struct memory_backend *backend = id ? memory_backend_find(id) : NULL;

    *ret = backend;
    if (!id)
        return true;
    if (!backend) {
        error_set(error, "-machine: Memory backend '%s' not found: add "
                  "-object memory-backend-...,id=%s", id, id);
        return false;
    }
    if (cfg->ram_size && cfg->ram_size != memory_backend_size(backend)) {
        error_set(error, "-m: machine memory size (%llu KiB) does not match the size of "
                  "memory backend '%s' (%llu KiB): leave -m out", cfg->ram_size / KIB, id,
                  memory_backend_size(backend) / KIB);
        return false;
    }
    return true;
}

static bool has_firmware(const struct machine_config *cfg)
{
    return cfg->bios || cfg->machine.pflash0;
}

static bool check_flash(const struct machine_config *cfg, const struct kvm_type *type,
                        GError **error)
{
    const struct machine_options *m = &cfg->machine;

    if (m->pflash1 && !m->pflash0)
        error_set(error, "pflash1: firmware starts in the first flash memory: add -drive "
                  "if=pflash,unit=0,format=raw,readonly=on,file=OVMF_CODE.fd");
    else if (m->pflash0 && cfg->bios)
        error_set(error, "-bios: %s: flash memory is where the processor starts: one of the two",
                  cfg->bios);
    else if (m->pflash0 && type->memory != KVM_TYPE_PLAIN)
        error_set(error, "pflash0: %s has none: writes to %s memory don't reach a device: "
                  "-bios OVMF.fd", type->name,
                  type->memory == KVM_TYPE_PRIVATE ? "private" : "encrypted");
    else
        return true;
    return false;
}

/* What SMM is without the ranges that only it sees, firmware can't use. */
static bool check_smm(const struct machine_config *cfg, const struct kvm_type *type,
                      GError **error)
{
    const struct machine_options *m = &cfg->machine;
    bool ranges = cfg->smm_ranges == OOA_ON;
    const char *asked = m->smm == OOA_ON ? "-machine: smm=on" : "-global: smm-ranges=on";
    const char *why = NULL;

    if (type->memory == KVM_TYPE_PRIVATE)
        why = "one address can't be private to some and shared to others";
    else if (type->memory == KVM_TYPE_ENCRYPTED)
        why = "nothing of a guest's may be hidden from it";
    if (why && (m->smm == OOA_ON || ranges))
        error_set(error, "%s: %s has no SMM, as %s: %s", asked, type->name, why,
                  m->smm == OOA_ON ? "smm=off" : "smm-ranges=off");
    else if (m->smm == OOA_ON && cfg->smm_ranges == OOA_OFF)
        error_set(error, "%s: smm-ranges=off leaves it no memory: smm=off", asked);
    else if (m->smm == OOA_OFF && ranges)
        error_set(error, "%s: with smm=off nobody sees them: smm=auto", asked);
    else if (m->smm == OOA_ON && !has_firmware(cfg))
        error_set(error, "%s: nothing but firmware sets it up: add -bios FILE, or smm=off", asked);
    else
        return true;
    return false;
}

/* A sev-guest and kvm-type=sev; one of them is enough only if it is the object. */
static bool find_sev_guest(const struct machine_config *cfg, const struct kvm_type *type,
                           struct sev_object **ret, GError **error)
{
    const char *id = cfg->machine.confidential_guest_support;

    *ret = NULL;
    if (!id && type->memory != KVM_TYPE_ENCRYPTED)
        return true;
    if (!id) {
        error_set(error, "-machine: kvm-type=sev: its policy is a sev-guest's, and none is named: "
                  "-object sev-guest,id=sev0,cbitpos=51,reduced-phys-bits=1 and "
                  "confidential-guest-support=sev0");
        return false;
    }
    if (type->memory != KVM_TYPE_ENCRYPTED) {
        error_set(error, "-machine: confidential-guest-support=%s: kvm-type=%s takes no such "
                  "object: kvm-type=sev", id, type->name);
        return false;
    }
    *ret = sev_object_find(id, error);
    if (!*ret)
        g_prefix_error(error, "-machine: ");
    return *ret != NULL;
}

/* Each type has memory of its kinds. */
static bool check_backend(const struct machine_config *cfg, const struct kvm_type *type,
                          enum backend_kind kind, GError **error)
{
    const char *id = cfg->machine.memory_backend;

    if (type->memory == KVM_TYPE_PRIVATE && kind == BACKEND_PLAIN)
        error_set(error, "-machine: memory-backend=%s: a protected VM's memory has to be private: "
                  "private=on, or memory-backend-guest-memfd", id);
    else if (type->memory == KVM_TYPE_PLAIN && kind == BACKEND_TWO_BACKINGS)
        error_set(error, "-machine: memory-backend=%s: private=on is for protected VMs: "
                  "kvm-type=sw-protected-vm", id);
    else if (type->memory == KVM_TYPE_ENCRYPTED && kind == BACKEND_TWO_BACKINGS)
        error_set(error, "-machine: memory-backend=%s: private=on is a second backing, and SEV "
                  "encrypts the one that there is: private=off", id);
    else if (type->memory == KVM_TYPE_ENCRYPTED && kind == BACKEND_IN_PLACE)
        error_set(error, "-machine: memory-backend=%s: a guest_memfd has no place in KVM's SEV "
                  "guests: memory-backend-ram, or memory-backend-memfd without guest-memfd", id);
    else
        return true;
    return false;
}

/* Firmware has to look for its C-bit; a kernel begins where it does that. */
static bool check_boot(const struct machine_config *cfg, const struct sev_object *sev,
                       GError **error)
{
    if (!cfg->kernel && !has_firmware(cfg) && !cfg->stopped)
        error_set(error, "-kernel: there is nothing to boot: -kernel FILE, or -bios FILE");
    else if (sev && sev_object_kernel_hashes(sev) && (!cfg->bios || !cfg->kernel))
        error_set(error, "-object sev-guest: kernel-hashes=on: it is firmware that checks them: "
                  "-bios and -kernel, or kernel-hashes=off, as without firmware -kernel, -initrd and -append are measured "
                  "themselves");
    else
        return true;
    return false;
}

bool machine_needs(const struct machine_config *cfg, struct kvm_needs *needs, GError **error)
{
    const struct kvm_type *type = machine_kvm_type(&cfg->machine);
    struct memory_backend *backend;
    struct sev_object *sev;
    enum backend_kind kind;

    if (!find_sev_guest(cfg, type, &sev, error) || !check_flash(cfg, type, error) ||
        !check_smm(cfg, type, error) || !check_boot(cfg, sev, error) || !machine_find_backend(cfg, &backend, error))
        return false;
    kind = backend ? memory_backend_kind(backend)
                   : type->memory == KVM_TYPE_PRIVATE ? BACKEND_TWO_BACKINGS : BACKEND_PLAIN;
    if (!check_backend(cfg, type, kind, error))
        return false;
    if (sev) {
        sev_object_needs(sev, needs);
        return true;
    }
    *needs = (struct kvm_needs){
        .vm_type = type->vm_type,
        .two_backings = kind == BACKEND_TWO_BACKINGS,
        .in_place = type->memory == KVM_TYPE_PRIVATE && kind == BACKEND_IN_PLACE,
        .guest_memfd_mmap = type->memory == KVM_TYPE_PLAIN && kind == BACKEND_IN_PLACE,
    };
    return true;
}
