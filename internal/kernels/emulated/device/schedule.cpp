// Which thread goes on.
#include "internal.h"

#include <cstdarg>

namespace emulated {

Thread *current;
Launch now;

void wake(Warp *w, unsigned lanes) {
    if (!w->runnable) {
        w->place = now.ready.size();
        now.ready.push_back(w);
    }
    w->runnable |= lanes;
}

void wake_at(Block *b, const void *at) {
    for (int i = 0; i < b->threads; i++) {
        Thread *t = b->thread + i;
        if (t->at != at) continue;
        t->at = nullptr;
        wake(t->warp, 1u << t->lane);
    }
}

void put_to_sleep(Thread *t, const char *what, const void *at) {
    Warp *w = t->warp;
    t->waits = what, t->at = at;
    now.spins = 0;
    w->runnable &= ~(1u << t->lane);
    if (w->runnable) return;
    Warp *last = now.ready.back();
    now.ready[w->place] = last;
    last->place = w->place;
    now.ready.pop_back();
}

static void describe(const Thread *t, char *to, size_t n) {
    snprintf(to, n, "block (%u, %u, %u), thread (%u, %u, %u)", t->block->index.x, t->block->index.y, t->block->index.z, t->index.x,
             t->index.y, t->index.z);
}

// deadlock reports where threads wait: one of each warp and reason is enough.
[[noreturn]] static void deadlock() {
    char list[1200];
    size_t n = 0;
    int told = 0, waiting = 0;
    for (Block *b : now.resident)
        for (int i = 0; i < b->threads; i++) {
            const Thread *t = b->thread + i;
            if (!(t->warp->alive >> t->lane & 1)) continue;
            waiting++;
            if (told == 10 || (t->lane > 0 && t[-1].waits == t->waits && t[-1].at == t->at && (t->at || t[-1].members == t->members))) continue;
            char who[120];
            describe(t, who, sizeof who);
            n += snprintf(list + n, sizeof list - n, "\n  %s waits for %s", who, t->waits);
            if (!t->at) n += snprintf(list + n, sizeof list - n, " of lanes %08x", t->members);
            told++;
        }
    fail("deadlock: %d threads wait, none can go on%s", waiting, list);
}

// choose returns the thread that goes on, or null if all have ended. Copies
// land in between.
static Thread *choose(Warp *own) {
    if (!now.bulk.empty() && (draw() & 7) == 0) land_bulk();
    while (now.ready.empty()) {
        if (now.left == 0) return nullptr;
        if (now.bulk.empty()) deadlock();
        land_bulk();
    }
    // The lanes of a warp mostly run one after another.
    Warp *w = own && own->runnable && (draw() & 15) ? own : now.ready[draw() % now.ready.size()];
    return w->lanes[bit_from(w->runnable, draw())];
}

void give_way() {
    Thread *me = current, *to = choose(me->warp);
    now.switches++;
    if (to == me) return;
    current = to;
    switch_stack(&me->stack_pointer, to->stack_pointer);
}

void sleep(const char *what, const void *at) {
    put_to_sleep(current, what, at);
    give_way();
}

void pause() {
    if ((draw() & 7) == 0) give_way();
}

void spin() {
    if (++now.spins > 20000000) fail("it waits in vain for a change in memory");
    give_way();
}

// leave tells those who may wait for a thread that it has ended.
static void leave(Thread *me) {
    Warp *w = me->warp;
    Block *b = me->block;
    me->opened++;
    land_async(me, 0);
    put_to_sleep(me, "nothing: it has ended", me);
    w->alive &= ~(1u << me->lane);
    b->alive--;
    now.left--;
    if (b->alive == 0) check_landed(b);
    if (w->meeting) check_meeting(w);
    check_barrier(b, 0, b->alive);
    if (b->cluster) {
        b->cluster->alive--;
        check_cluster(b->cluster);
    }
}

void thread_main() {
    now.kernel->invoke(now.kernel);
    leave(current);
    void *nowhere;
    if (Thread *to = choose(nullptr)) {
        current = to;
        switch_stack(&nowhere, to->stack_pointer);
    }
    switch_stack(&nowhere, now.main);
    abort();
}

void run() {
    current = choose(nullptr);
    switch_stack(&now.main, current->stack_pointer);
    current = nullptr;
}

void fail(const char *format, ...) {
    size_t n = snprintf(now.message, sizeof now.message, "kernel %s: ", now.kernel->name);
    if (current) {
        describe(current, now.message + n, sizeof now.message - n);
        n = strlen(now.message);
        n += snprintf(now.message + n, sizeof now.message - n, ": ");
    }
    va_list args;
    va_start(args, format);
    vsnprintf(now.message + n, sizeof now.message - n, format, args);
    va_end(args);
    now.failed = true;
    if (!current) longjmp(now.start, 1);
    void *nowhere;
    switch_stack(&nowhere, now.main); // the stacks are left as they are
    abort();
}

} // namespace emulated
