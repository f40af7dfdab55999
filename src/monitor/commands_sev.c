/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commands about SEV, for whoever owns the guest and for tools like libvirt: QEMU's names,
 * shapes and words (qapi/misc-i386.json).
 */
#include "command.h"

#include "encrypted.h"
#include "error.h"
#include "sev_client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Indexed by enum kvm_sev_state. */
static const struct schema_type type_state = SCHEMA_ENUM_OF(
    "uninit", "launch-update", "launch-secret", "running", "receive-update", "send-update");
static const struct schema_type type_guest_type = SCHEMA_ENUM_OF("sev");
static const struct schema_type type_sev = SCHEMA_OBJECT_OF(
    { "policy", &schema_int }, { "handle", &schema_int });
static const struct schema_type type_info = {
    .meta = SCHEMA_OBJECT,
    .members = (const struct schema_member[]){
        { "enabled", &schema_bool }, { "api-major", &schema_int }, { "api-minor", &schema_int },
        { "build-id", &schema_int }, { "state", &type_state }, { "sev-type", &type_guest_type },
        { NULL } },
    .open = true, .tag = "sev-type",
    .variants = (const struct schema_variant[]){ { "sev", &type_sev }, { NULL } },
};
static const struct schema_type type_data = SCHEMA_OBJECT_OF({ "data", &schema_str });
static const struct schema_type type_capabilities = SCHEMA_OBJECT_OF(
    { "pdh", &schema_str }, { "cert-chain", &schema_str }, { "cpu0-id", &schema_str },
    { "cbitpos", &schema_int }, { "reduced-phys-bits", &schema_int });
static const struct schema_type args_secret = SCHEMA_OBJECT_OF(
    { "packet-header", &schema_str }, { "secret", &schema_str }, { "gpa", &schema_uint, true });
static const struct schema_type args_report = SCHEMA_OBJECT_OF({ "mnonce", &schema_str });

static void set_base64(struct json_object *obj, const char *member, const void *data, gsize size)
{
    g_autofree char *text = g_base64_encode(data, size);

    json_set_text(obj, member, text);
}

static struct kvm_sev *sev_of(const struct monitor_ctx *ctx)
{
    return ctx->vm->kvm->sev;
}

/* --- What it is --- */

static bool run_info(const struct monitor_ctx *ctx, struct json_object *args,
                     struct json_object **ret, GError **error)
{
    static const struct kvm_sev none;
    const struct kvm_sev *sev = sev_of(ctx) ? sev_of(ctx) : &none;

    *ret = json_object_new_object();
    json_set_bool(*ret, "enabled", sev != &none);
    json_set_uint(*ret, "api-major", sev->api_major);
    json_set_uint(*ret, "api-minor", sev->api_minor);
    json_set_uint(*ret, "build-id", sev->build);
    json_set_text(*ret, "state", type_state.values[sev->state]);
    json_set_text(*ret, "sev-type", "sev");
    json_set_uint(*ret, "policy", sev->policy);
    json_set_uint(*ret, "handle", sev->handle);
    return true;
}

static void print_info(const struct monitor_ctx *ctx, struct json_object *ret, GString *out)
{
    int64_t policy = json_int(ret, "policy", 0);

    if (!json_flag(ret, "enabled")) {
        g_string_append(out, "SEV is not enabled\n");
        return;
    }
    g_string_append_printf(out, "SEV type: %s\nstate: %s\nbuild: %" PRId64 "\n"
                           "api version: %" PRId64 ".%" PRId64 "\nhandle: %" PRId64 "\n"
                           "debug: %s\nkey-sharing: %s\n", json_text(ret, "sev-type"),
                           json_text(ret, "state"), json_int(ret, "build-id", 0),
                           json_int(ret, "api-major", 0), json_int(ret, "api-minor", 0),
                           json_int(ret, "handle", 0),
                           policy & KVM_SEV_POLICY_NODBG ? "off" : "on",
                           policy & KVM_SEV_POLICY_NOKS ? "off" : "on");
}

static bool run_capabilities(const struct monitor_ctx *ctx, struct json_object *args,
                             struct json_object **ret, GError **error)
{
    struct kvm_sev_platform platform;
    unsigned c_bit;
    uint32_t fw;
    int result = kvm_sev_platform_get(ctx->vm->kvm, &platform, &c_bit, &fw);

    if (result == -ENOTTY) {
        error_set(error, "SEV is not enabled in KVM");
        return false;
    }
    if (result) {
        error_set_sev(error, result, fw, "SEV: the platform's certificates can't be had");
        return false;
    }
    *ret = json_object_new_object();
    set_base64(*ret, "pdh", platform.pdh, platform.pdh_size);
    set_base64(*ret, "cert-chain", platform.chain, platform.chain_size);
    set_base64(*ret, "cpu0-id", platform.id, platform.id_size);
    json_set_uint(*ret, "cbitpos", c_bit);
    json_set_uint(*ret, "reduced-phys-bits", 1);
    kvm_sev_platform_clear(&platform);
    return true;
}

/* --- Its launch --- */

static bool run_measure(const struct monitor_ctx *ctx, struct json_object *args,
                        struct json_object **ret, GError **error)
{
    const struct kvm_sev *sev = sev_of(ctx);

    if (!sev || !sev->measurement_size) {
        error_set(error, "SEV launch measurement is not available");
        return false;
    }
    *ret = json_object_new_object();
    set_base64(*ret, "data", sev->measurement, sev->measurement_size);
    return true;
}

/* NULL with the error set: what it is called can't be decoded. */
static GBytes *decode(const char *text, const char *what, GError **error)
{
    gsize size;
    guchar *data;

    if (!text_is_base64(text)) {
        error_set(error, "SEV: Failed to decode %s", what);
        return NULL;
    }
    data = g_base64_decode(text, &size);
    return g_bytes_new_take(data, size);
}

static bool secret_gpa(const struct monitor_ctx *ctx, struct json_object *args, uint64_t *ret,
                       GError **error)
{
    struct json_object *gpa;

    if (json_object_object_get_ex(args, "gpa", &gpa)) {
        *ret = json_object_get_uint64(gpa);
        return true;
    }
    if (ctx->vm->secret_area && ctx->vm->secret_area(ctx->vm->opaque, ret))
        return true;
    error_set(error, "SEV: no secret area found in the firmware, gpa must be specified.");
    return false;
}

static bool run_secret(const struct monitor_ctx *ctx, struct json_object *args,
                       struct json_object **ret, GError **error)
{
    g_autoptr(GBytes) header = NULL;
    g_autoptr(GBytes) secret = NULL;
    uint64_t gpa;

    if (!sev_of(ctx)) {
        error_set(error, "SEV not enabled for guest");
        return false;
    }
    if (sev_of(ctx)->state != KVM_SEV_LAUNCH_MEASURED) {
        error_set(error, "SEV: Not in correct state. (LSECRET) %x", sev_of(ctx)->state);
        return false;
    }
    header = decode(json_text(args, "packet-header"), "sequence header", error);
    secret = header ? decode(json_text(args, "secret"), "data", error) : NULL;
    if (!secret || !secret_gpa(ctx, args, &gpa, error))
        return false;
    if (memory_inject_secret(ctx->vm->memory, gpa, header, secret, error))
        return true;
    g_prefix_error(error, "SEV: ");
    return false;
}

static bool run_report(const struct monitor_ctx *ctx, struct json_object *args,
                       struct json_object **ret, GError **error)
{
    g_autoptr(GBytes) nonce = NULL;
    const void *bytes;
    uint32_t size, fw;
    void *report;
    gsize length;
    int result;

    if (!sev_of(ctx)) {
        error_set(error, "SEV is not enabled");
        return false;
    }
    nonce = decode(json_text(args, "mnonce"), "mnonce input", error);
    if (!nonce)
        return false;
    bytes = g_bytes_get_data(nonce, &length);
    if (length != KVM_SEV_NONCE_SIZE) {
        error_set(error, "SEV: mnonce must be %d bytes (got %zu)", KVM_SEV_NONCE_SIZE, length);
        return false;
    }
    result = kvm_sev_attestation_report(ctx->vm->kvm, bytes, &report, &size, &fw);
    if (result) {
        error_set_sev(error, result, fw, "SEV: Failed to get attestation report");
        return false;
    }
    *ret = json_object_new_object();
    set_base64(*ret, "data", report, size);
    free(report);
    return true;
}

const struct command commands_sev[] = {
    { .qmp = "query-sev", .hmp = "info sev", .ret = &type_info,
      .help = "show SEV information", .run = run_info, .print = print_info },
    { .qmp = "query-sev-capabilities", .ret = &type_capabilities,
      .help = "SEV of this host: certificates, C-bit", .run = run_capabilities },
    { .qmp = "query-sev-launch-measure", .ret = &type_data,
      .help = "the measurement of a SEV guest's launch", .run = run_measure },
    { .qmp = "sev-inject-launch-secret", .args = &args_secret,
      .help = "a secret from the owner of a SEV guest that hasn't run yet", .run = run_secret },
    { .qmp = "query-sev-attestation-report", .args = &args_report, .ret = &type_data,
      .help = "a SEV guest's attestation report", .run = run_report },
    { NULL },
};
