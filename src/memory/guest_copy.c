/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copying into and out of private memory where the host can't: by the guest's own
 * first processor, before the guest runs or while it is stopped.
 *
 * Two temporary slots above all RAM: one with a few instructions and their page
 * tables, one in which the host's side of the copy is seen.  vCPU 0 is put into
 * 64-bit mode there, copies, says so with an OUT, and gets its registers back.
 * That works on every KVM, needs nothing of the guest, and no exit but the OUT
 * (some processors can't say for a private page which instruction exited).
 * Between two instructions of a guest there may be more than registers: an
 * exception or interrupt on its way, HLT, breakpoints.  They are put aside too.
 *
 * 64-bit mode's structures: Intel SDM vol. 3A, 3.4.5 and 4.5.
 */
#include "memory_internal.h"
#include "range.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* Pages of the stub's slot. */
enum { PAGE_CODE, PAGE_PML4, PAGE_PDPT, PAGE_PD_CODE, PAGE_PD_HOST, PAGE_PD_GUEST, STUB_PAGES };

enum { LARGE_PAGE = 2 << 20, DONE_PORT = 0xf4 };

/* One page directory maps 1 GiB: a piece, and where it begins in its first large page. */
#define PIECE_MAX (GIB / 2)
#define HOST_GVA (1 * GIB)
#define GUEST_GVA (2 * GIB)

static const uint8_t stub_code[] = {
    0x0f, 0x22, 0xd8,           /* mov %rax, %cr3: forget the last piece's translations */
    0xfc,                       /* cld */
    0xf3, 0x48, 0xa5,           /* rep movsq */
    0xe6, DONE_PORT,            /* out %al, $DONE_PORT */
    0xeb, 0xfe,                 /* jmp . */
};

struct stub {
    struct memory *mem;
    struct kvm_vcpu *vcpu;
    uint64_t (*pages)[512];     /* STUB_PAGES of them */
    struct kvm_slot code, window;
    struct kvm_sregs sregs;     /* as they are while the stub runs */
    const char *what;           /* that failed */
};

static uint64_t stub_page_gpa(const struct stub *stub, unsigned page)
{
    return stub->code.gpa + (uint64_t)page * GUEST_PAGE_SIZE;
}

static void map_large_pages(uint64_t *directory, uint64_t gpa, uint64_t size)
{
    for (uint64_t i = 0, at = gpa & ~(uint64_t)(LARGE_PAGE - 1); at < gpa + size; at += LARGE_PAGE)
        directory[i++] = at | 0x83;         /* present, writable, 2 MiB */
}

static void write_stub(struct stub *stub)
{
    memcpy(stub->pages[PAGE_CODE], stub_code, sizeof(stub_code));
    stub->pages[PAGE_PML4][0] = stub_page_gpa(stub, PAGE_PDPT) | 3;
    for (unsigned i = 0; i < 3; i++)
        stub->pages[PAGE_PDPT][i] = stub_page_gpa(stub, PAGE_PD_CODE + i) | 3;
    map_large_pages(stub->pages[PAGE_PD_CODE], stub->code.gpa, STUB_PAGES * GUEST_PAGE_SIZE);
}

static struct kvm_segment flat_segment(uint16_t selector, uint8_t type, bool code)
{
    return (struct kvm_segment){
        .selector = selector, .type = type, .limit = 0xffffffff, .present = 1, .s = 1, .g = 1,
        .l = code, .db = !code,
    };
}

/* 64-bit mode, flat, interrupts off. */
static void set_stub_sregs(struct stub *stub)
{
    struct kvm_sregs *s = &stub->sregs;

    s->cs = flat_segment(0x08, 0xb, true);
    s->ds = s->es = s->fs = s->gs = s->ss = flat_segment(0x10, 0x3, false);
    s->tr = (struct kvm_segment){
        .selector = 0x18, .type = 0xb, .limit = 0x67, .present = 1,
    };
    s->ldt = (struct kvm_segment){ .unusable = 1, .type = 2 };
    s->cr0 = 0x80000031;                    /* PG, NE, ET, PE */
    s->cr3 = stub_page_gpa(stub, PAGE_PML4);
    s->cr4 = 0x20;                          /* PAE */
    s->efer = 0x500;                        /* LMA, LME */
}

/* 0 when the OUT has come. */
static int run_until_done(struct stub *stub)
{
    struct kvm_run *run = kvm_vcpu_run_page(stub->vcpu);
    int ret;

    __atomic_store_n(&run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    do {
        ret = kvm_vcpu_ioctl(stub->vcpu, KVM_RUN, NULL);
    } while (ret == -EINTR || (ret >= 0 && run->exit_reason == KVM_EXIT_INTR));
    if (ret < 0 && !(ret == -EFAULT && run->exit_reason == KVM_EXIT_MEMORY_FAULT)) {
        stub->what = "KVM_RUN";
        return ret;
    }
    if (run->exit_reason != KVM_EXIT_IO || run->io.port != DONE_PORT) {
        stub->what = kvm_exit_name(run->exit_reason);
        return -EIO;
    }
    /* Let KVM complete the OUT, so that it doesn't touch the registers later. */
    __atomic_store_n(&run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    ret = kvm_vcpu_ioctl(stub->vcpu, KVM_RUN, NULL);
    __atomic_store_n(&run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    return ret == -EINTR ? 0 : -EIO;
}

static int copy_piece(struct stub *stub, char *host, uint64_t gpa, uint64_t size, bool to_host)
{
    uint64_t guest = GUEST_GVA + (gpa & (LARGE_PAGE - 1));
    struct kvm_regs regs = {
        .rax = stub_page_gpa(stub, PAGE_PML4), .rcx = size / 8, .rip = 0, .rflags = 2,
        .rsi = to_host ? guest : HOST_GVA, .rdi = to_host ? HOST_GVA : guest,
    };
    int ret;

    map_large_pages(stub->pages[PAGE_PD_HOST], stub->window.gpa, size);
    map_large_pages(stub->pages[PAGE_PD_GUEST], gpa, size);
    stub->what = "a temporary memory slot";
    stub->window.hva = (uint64_t)(uintptr_t)host;
    stub->window.size = (size + GUEST_PAGE_SIZE - 1) & ~(uint64_t)(GUEST_PAGE_SIZE - 1);
    ret = kvm_vm_set_slot(stub->mem->vm, &stub->window);
    if (ret)
        return ret;
    stub->what = "the vCPU's registers";
    ret = kvm_vcpu_ioctl(stub->vcpu, KVM_SET_SREGS, &stub->sregs);
    if (!ret)
        ret = kvm_vcpu_ioctl(stub->vcpu, KVM_SET_REGS, &regs);
    if (!ret)
        ret = run_until_done(stub);
    stub->window.size = 0;
    kvm_vm_set_slot(stub->mem->vm, &stub->window);
    return ret;
}

static int copy_all(struct stub *stub, const GArray *copies)
{
    int ret = 0;

    for (guint i = 0; i < copies->len && !ret; i++) {
        const struct guest_copy *copy = &g_array_index(copies, struct guest_copy, i);

        for (uint64_t done = 0; done < copy->size && !ret; done += PIECE_MAX)
            ret = copy_piece(stub, (char *)copy->host + done, copy->gpa + done,
                             MIN(copy->size - done, PIECE_MAX), copy->to_host);
    }
    return ret;
}

/* The first GiB boundary above all RAM and above everything that a board has below 4 GiB. */
static uint64_t gpa_above_all(const struct memory *mem)
{
    uint64_t top = 4 * GIB;

    for (guint i = 0; i < mem->mappings->len; i++)
        top = MAX(top, mapping_end(&g_array_index(mem->mappings, struct mapping, i)));
    return (top + GIB - 1) & ~(GIB - 1);
}

static int place_slots(struct stub *stub)
{
    int first = memory_free_slot(stub->mem, 0);
    int second = first < 0 ? first : memory_free_slot(stub->mem, (uint32_t)first + 1);
    uint64_t gpa = gpa_above_all(stub->mem);

    stub->what = "a temporary memory slot";
    if (second < 0)
        return second;
    stub->code = (struct kvm_slot){
        .id = (uint32_t)first, .gpa = gpa, .size = STUB_PAGES * GUEST_PAGE_SIZE,
        .hva = (uint64_t)(uintptr_t)stub->pages, .guest_memfd = -1,
    };
    stub->window = (struct kvm_slot){
        .id = (uint32_t)second, .gpa = gpa + GIB, .guest_memfd = -1,
    };
    return kvm_vm_set_slot(stub->mem->vm, &stub->code);
}

/* --- What vCPU 0 was about to do --- */

struct interrupted {
    struct kvm_sregs sregs;
    struct kvm_regs regs;
    struct kvm_debugregs debugregs;
    struct kvm_vcpu_events events;
    struct kvm_mp_state mp_state;
    bool has_debugregs, has_events, has_mp_state;
};

static int save_vcpu(struct kvm_vcpu *vcpu, struct interrupted *was)
{
    int ret = kvm_vcpu_ioctl(vcpu, KVM_GET_SREGS, &was->sregs);

    if (!ret)
        ret = kvm_vcpu_ioctl(vcpu, KVM_GET_REGS, &was->regs);
    /* Not every KVM has these, nor with every interrupt controller. */
    was->has_debugregs = kvm_vcpu_ioctl(vcpu, KVM_GET_DEBUGREGS, &was->debugregs) == 0;
    was->has_events = kvm_vcpu_ioctl(vcpu, KVM_GET_VCPU_EVENTS, &was->events) == 0;
    was->has_mp_state = kvm_vcpu_ioctl(vcpu, KVM_GET_MP_STATE, &was->mp_state) == 0;
    /* There, other memory may be in the way of ours. */
    if (!ret && was->has_events && was->events.smi.smm)
        ret = -EBUSY;
    return ret;
}

/* Nothing on its way, NMIs held back, no breakpoints, not halted. */
static int quiet_vcpu(struct kvm_vcpu *vcpu, const struct interrupted *was)
{
    struct kvm_vcpu_events events = {
        .nmi.masked = 1, .flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW,
    };
    struct kvm_debugregs debugregs = { .dr6 = 0xffff0ff0, .dr7 = 0x400 };
    struct kvm_mp_state mp_state = { .mp_state = KVM_MP_STATE_RUNNABLE };
    int ret = 0;

    if (was->has_events)
        ret = kvm_vcpu_ioctl(vcpu, KVM_SET_VCPU_EVENTS, &events);
    if (!ret && was->has_debugregs)
        ret = kvm_vcpu_ioctl(vcpu, KVM_SET_DEBUGREGS, &debugregs);
    if (!ret && was->has_mp_state)
        ret = kvm_vcpu_ioctl(vcpu, KVM_SET_MP_STATE, &mp_state);
    return ret;
}

static int restore_vcpu(struct kvm_vcpu *vcpu, struct interrupted *was)
{
    int ret = kvm_vcpu_ioctl(vcpu, KVM_SET_SREGS, &was->sregs);

    if (!ret)
        ret = kvm_vcpu_ioctl(vcpu, KVM_SET_REGS, &was->regs);
    if (!ret && was->has_debugregs)
        ret = kvm_vcpu_ioctl(vcpu, KVM_SET_DEBUGREGS, &was->debugregs);
    if (!ret && was->has_mp_state)
        ret = kvm_vcpu_ioctl(vcpu, KVM_SET_MP_STATE, &was->mp_state);
    was->events.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
    if (!ret && was->has_events)
        ret = kvm_vcpu_ioctl(vcpu, KVM_SET_VCPU_EVENTS, &was->events);
    return ret;
}

static int run_with_slots(struct stub *stub, const GArray *copies)
{
    struct interrupted was;
    int restored, ret;

    stub->what = "the vCPU's registers";
    ret = save_vcpu(stub->vcpu, &was);
    if (ret)
        return ret;
    stub->sregs = was.sregs;
    memset(stub->sregs.interrupt_bitmap, 0, sizeof(stub->sregs.interrupt_bitmap));
    set_stub_sregs(stub);
    write_stub(stub);
    ret = quiet_vcpu(stub->vcpu, &was);
    if (!ret)
        ret = copy_all(stub, copies);
    restored = restore_vcpu(stub->vcpu, &was);
    if (!ret && restored)
        stub->what = "the vCPU's registers";
    return ret ? ret : restored;
}

int guest_copy_run(struct memory *mem, struct kvm_vcpu *vcpu, GArray *copies,
                   const char **ret_what)
{
    struct stub stub = { .mem = mem, .vcpu = vcpu, .what = "its memory" };
    uint64_t size = STUB_PAGES * GUEST_PAGE_SIZE;
    int ret;

    stub.pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stub.pages == MAP_FAILED) {
        *ret_what = stub.what;
        return -errno;
    }
    ret = place_slots(&stub);
    if (!ret) {
        ret = run_with_slots(&stub, copies);
        stub.code.size = 0;
        kvm_vm_set_slot(mem->vm, &stub.code);
    }
    munmap(stub.pages, size);
    *ret_what = stub.what;
    return ret;
}
