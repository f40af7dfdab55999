/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Properties and defaults are those of QEMU's sev-guest (qapi/qom.json, SevGuestProperties);
 * the order of the launch is that of its manual ("AMD Secure Encrypted Virtualization").
 */
#include "sev_object.h"

#include "encrypted.h"
#include "error.h"
#include "sev_client.h"
#include "trace.h"

#include <errno.h>
#include <inttypes.h>

struct sev_object {
    struct object obj;
    char *device, *dh_cert_file, *session_file;
    uint32_t policy, handle, cbitpos, reduced_phys_bits;
    bool kernel_hashes;
    enum on_off_auto legacy_vm_type;
    GBytes *dh_cert, *session;  /* NULL: not given */
};

static const struct property properties[] = {
    { "sev-device", PROP_STRING, offsetof(struct sev_object, device),
      .help = "the platform's device (/dev/sev)" },
    { "cbitpos", PROP_UINT32, offsetof(struct sev_object, cbitpos),
      .help = "which bit of a page-table entry says that a page is encrypted: the host's" },
    { "reduced-phys-bits", PROP_UINT32, offsetof(struct sev_object, reduced_phys_bits),
      .help = "how many bits of addresses that costs: 1" },
    { "kernel-hashes", PROP_BOOL, offsetof(struct sev_object, kernel_hashes),
      .help = "firmware gets and measures hashes of -kernel, -initrd and -append (off)" },
    { "policy", PROP_UINT32, offsetof(struct sev_object, policy),
      .help = "bits: 0x1 no debugging, 0x2 no key sharing, 0x4 SEV-ES; 16-31 firmware (0x1)" },
    { "handle", PROP_UINT32, offsetof(struct sev_object, handle),
      .help = "of another guest whose key is shared; 0: a key of its own" },
    { "dh-cert-file", PROP_STRING, offsetof(struct sev_object, dh_cert_file),
      .help = "the owner's Diffie-Hellman certificate, in base64" },
    { "session-file", PROP_STRING, offsetof(struct sev_object, session_file),
      .help = "the owner's session, in base64" },
    { "legacy-vm-type", PROP_ON_OFF_AUTO, offsetof(struct sev_object, legacy_vm_type),
      .help = "KVM_SEV_INIT, for KVM before Linux 6.10; auto: where there is nothing newer" },
    { NULL },
};

/* A machine is there, which takes what it was started with. */
static bool machine_exists;

static void init(struct object *obj)
{
    struct sev_object *sev = (struct sev_object *)obj;

    sev->device = g_strdup("/dev/sev");
    sev->policy = KVM_SEV_POLICY_NODBG;
}

/* The larger of both blobs is a certificate of 2084 bytes. */
static bool read_base64(const char *property, const char *path, GBytes **ret, GError **error)
{
    enum { MAX_FILE = 64 << 10 };
    g_autofree char *text = NULL;
    g_autofree guchar *bytes = NULL;
    gsize size;

    if (!path)
        return true;
    if (!g_file_test(path, G_FILE_TEST_IS_REGULAR)) {
        error_set(error, "%s=%s: is not a regular file that can be read: the owner's, in base64",
                  property, path);
        return false;
    }
    if (!g_file_get_contents(path, &text, &size, NULL)) {
        error_set_errno(error, errno, "%s=%s", property, path);
        return false;
    }
    if (size <= MAX_FILE && strlen(text) == size)
        bytes = g_base64_decode(g_strstrip(text), &size);
    if (!bytes || !size) {
        error_set(error, "%s=%s: is not base64: as `sevctl session` writes it", property, path);
        return false;
    }
    *ret = g_bytes_new_take(g_steal_pointer(&bytes), size);
    return true;
}

static bool complete(struct object *obj, GError **error)
{
    struct sev_object *sev = (struct sev_object *)obj;

    if (machine_exists) {
        error_set(error, "sev-guest: a machine that is there has started as what it is: "
                  "-object sev-guest when it is started");
        return false;
    }
    if (sev->reduced_phys_bits < 1 || sev->reduced_phys_bits > 63) {
        error_set(error, "sev-guest: reduced-phys-bits=%" PRIu32 ": it should be in the range of 1 "
                  "to 63: reduced-phys-bits=1", sev->reduced_phys_bits);
        return false;
    }
    if (!sev->dh_cert_file != !sev->session_file) {
        error_set(error, "sev-guest: dh-cert-file and session-file go together: both, or none");
        return false;
    }
    return read_base64("dh-cert-file", sev->dh_cert_file, &sev->dh_cert, error) &&
           read_base64("session-file", sev->session_file, &sev->session, error);
}

static void finalize(struct object *obj)
{
    struct sev_object *sev = (struct sev_object *)obj;

    g_clear_pointer(&sev->dh_cert, g_bytes_unref);
    g_clear_pointer(&sev->session, g_bytes_unref);
}

static const struct object_type sev_guest_type = {
    .name = "sev-guest",
    .help = "a guest with AMD SEV, for -machine confidential-guest-support=ID",
    .size = sizeof(struct sev_object),
    .properties = (const struct property *const[]){ properties, NULL },
    .init = init, .complete = complete, .finalize = finalize,
};

void sev_register_object(void)
{
    object_type_register(&sev_guest_type);
}

struct sev_object *sev_object_find(const char *id, GError **error)
{
    struct object *obj = object_find(id);

    if (obj && obj->type == &sev_guest_type)
        return (struct sev_object *)obj;
    if (obj)
        error_set(error, "confidential-guest-support=%s: a %s isn't for that: the id of a "
                  "sev-guest", id, obj->type->name);
    else
        error_set(error, "confidential-guest-support=%s: there is no such object: "
                  "-object sev-guest,id=%s,cbitpos=51,reduced-phys-bits=1", id, id);
    return NULL;
}

void sev_object_needs(const struct sev_object *sev, struct kvm_needs *needs)
{
    static const enum kvm_sev_need types[] = {
        [OOA_AUTO] = KVM_SEV_ANY_TYPE, [OOA_ON] = KVM_SEV_LEGACY_TYPE, [OOA_OFF] = KVM_SEV_OWN_TYPE,
    };

    *needs = (struct kvm_needs){
        .vm_type = sev->policy & KVM_SEV_POLICY_ES ? KVM_X86_SEV_ES_VM : KVM_X86_SEV_VM,
        .encrypted = true, .sev_type = types[sev->legacy_vm_type], .sev_device = sev->device,
    };
}

void sev_object_no_more(void)
{
    machine_exists = true;
}

bool sev_object_kernel_hashes(const struct sev_object *sev)
{
    return sev->kernel_hashes;
}

/* --- Launch --- */

static struct kvm_sev_start start_of(const struct sev_object *sev)
{
    struct kvm_sev_start start = { .policy = sev->policy, .handle = sev->handle };
    gsize size = 0;

    if (sev->dh_cert) {
        start.dh_cert = g_bytes_get_data(sev->dh_cert, &size);
        start.dh_cert_size = (uint32_t)size;
        start.session = g_bytes_get_data(sev->session, &size);
        start.session_size = (uint32_t)size;
    }
    return start;
}

bool sev_object_start(struct sev_object *sev, struct kvm_vm *vm, GError **error)
{
    const struct kvm_sev_start start = start_of(sev);
    uint32_t fw = 0;
    int ret;

    if (vm->sev->c_bit != sev->cbitpos) {
        error_set(error, "-object sev-guest: cbitpos check failed, host '%u' requested '%" PRIu32
                  "': cbitpos=%u", vm->sev->c_bit, sev->cbitpos, vm->sev->c_bit);
        return false;
    }
    vm->sev->reduced_bits = sev->reduced_phys_bits;
    ret = kvm_sev_launch_start(vm, &start, &fw);
    if (ret) {
        error_set_sev(error, ret, fw, "-object sev-guest: the launch can't be started with policy "
                      "0x%" PRIx32, sev->policy);
        if (ret == -ENODEV)
            error_hint(error, "a security processor, or for -accel soft userfaultfd");
        return false;
    }
    sev->obj.users++;
    return true;
}

void sev_object_release(struct sev_object *sev)
{
    if (sev && sev->obj.users)
        sev->obj.users--;
}

bool sev_object_measure(struct kvm_vm *vm, GError **error)
{
    uint32_t fw = 0;
    int ret = kvm_sev_launch_measure(vm, &fw);

    trace(TRACE_SEV_LAUNCH_MEASURE, "result=%d code=%" PRIu32, ret, fw);
    if (ret)
        error_set_sev(error, ret, fw, "SEV: the guest can't be measured");
    return ret == 0;
}

bool sev_object_finish(struct kvm_vm *vm, GError **error)
{
    uint32_t fw = 0;
    int ret;

    if (vm->sev->state == KVM_SEV_RUNNING)
        return true;
    ret = kvm_sev_launch_finish(vm, &fw);
    trace(TRACE_SEV_LAUNCH_FINISH, "result=%d code=%" PRIu32, ret, fw);
    if (ret)
        error_set_sev(error, ret, fw, "SEV: the launch can't be finished");
    return ret == 0;
}
