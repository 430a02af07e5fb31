// Stacks of the threads, and the switch between them.
#include "internal.h"

#include <sys/mman.h>
#if !defined(__x86_64__) || defined(EMULATED_UCONTEXT)
#include <ucontext.h>
#endif

namespace emulated {

// A page below each stack cannot be accessed.
constexpr size_t STACK = 128 * 1024, GUARD = 4096, STACKS = 16384, RECORDS = 64 << 20;
constexpr size_t WORLD = RECORDS + STACKS * (GUARD + STACK);

char *world;
const size_t world_size = WORLD;
static size_t records, stacks; // bytes and stacks in use

char *reserve(size_t bytes) {
    char *p = (char *)mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p != MAP_FAILED) return p;
    fprintf(stderr, "emulated: %zu bytes of address space cannot be reserved\n", bytes);
    abort();
}

void open_world() {
    if (!world) world = reserve(WORLD);
    records = 0;
}

void *take(size_t bytes) {
    void *p = world + records;
    records += (bytes + 63) / 64 * 64;
    if (records > RECORDS) fail("more than %zu bytes of records", RECORDS);
    return p;
}

static char *stack(size_t i) {
    if (i >= STACKS) fail("more than %zu threads at a time", STACKS);
    for (; stacks <= i; stacks++) mprotect(world + RECORDS + stacks * (GUARD + STACK), GUARD, PROT_NONE);
    return world + RECORDS + i * (GUARD + STACK) + GUARD;
}

#if defined(__x86_64__) && !defined(EMULATED_UCONTEXT)
// The registers that a function must keep lie on the stack that is left.
asm(R"(
    .text
    .globl emulated_switch
    .hidden emulated_switch
    .type emulated_switch, @function
emulated_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emulated_switch, .-emulated_switch
)");

void *new_stack(size_t i, void (*begin)()) {
    void **sp = (void **)(stack(i) + STACK - 64);
    *--sp = nullptr; // the address that begin would return to
    *--sp = (void *)begin;
    for (int r = 0; r < 6; r++) *--sp = nullptr;
    return sp;
}
#else
// Elsewhere the C library switches. Contexts lie on the stacks that they are of.
void switch_stack(void **save, void *to) {
    ucontext_t here;
    *save = &here;
    swapcontext(&here, (ucontext_t *)to);
}

void *new_stack(size_t i, void (*begin)()) {
    char *low = stack(i);
    ucontext_t *c = (ucontext_t *)((uintptr_t)(low + STACK - sizeof(ucontext_t)) & ~(uintptr_t)63);
    getcontext(c);
    c->uc_stack.ss_sp = low;
    c->uc_stack.ss_size = (char *)c - low;
    c->uc_link = nullptr;
    makecontext(c, begin, 0);
    return c;
}
#endif

} // namespace emulated
