// Where threads wait for each other: operations of warps, barriers of blocks and
// of clusters.
#include "internal.h"

namespace emulated {

// ---- warps ----

void check_meeting(Warp *w) {
    for (unsigned left = w->meeting; left;) {
        const Thread *first = w->lanes[__builtin_ctz(left)];
        unsigned come = 0;
        for (unsigned m = left; m; m &= m - 1) {
            const Thread *t = w->lanes[__builtin_ctz(m)];
            if (t->resolve == first->resolve && t->members == first->members) come |= 1u << t->lane;
        }
        left &= ~come;
        if (come != (first->members & w->alive)) continue;
        first->resolve(w->lanes, come);
        w->meeting &= ~come;
        wake(w, come);
        w->turn = draw();
    }
}

void meet(unsigned members, Resolve resolve, void *operands, const char *what) {
    Thread *me = current;
    Warp *w = me->warp;
    if (!(members >> me->lane & 1)) fail("%s of lanes %08x, which lane %d is not among", what, members, me->lane);
    me->resolve = resolve, me->members = members, me->operands = operands;
    w->meeting |= 1u << me->lane;
    const bool all = (w->meeting & members) == (members & w->alive);
    if (!(w->runnable & (w->runnable - 1))) { // no other lane can run
        put_to_sleep(me, what, nullptr);
        if (all) check_meeting(w);
        give_way();
        return;
    }
    // The usual case, and the shortest way.
    me->waits = what, me->at = nullptr;
    now.spins = 0;
    w->runnable &= ~(1u << me->lane);
    if (all) check_meeting(w);
    Thread *to = w->lanes[bit_from(w->runnable, w->turn)];
    if (to == me) return;
    current = to;
    switch_stack(&me->stack_pointer, to->stack_pointer);
}

// ---- barriers of a block ----

void check_barrier(Block *b, int number, int want) {
    Barrier &r = b->barriers[number];
    if (r.arrived == 0 || r.arrived < want) return;
    for (int i = 0; i < b->threads; i++)
        if (b->thread[i].at == &r) b->thread[i].votes = r.votes;
    r.arrived = r.votes = 0;
    wake_at(b, &r);
}

static void come(int number, int threads, bool vote) {
    Block *b = current->block;
    if (number < 0 || number > 15) fail("barrier %d: there are 16", number);
    if (threads % 32 || threads > (b->threads + 31) / 32 * 32) fail("barrier %d of %d threads in a block of %d", number, threads, b->threads);
    Barrier &r = b->barriers[number];
    r.arrived++;
    r.votes += vote;
    if (threads && r.arrived > threads) fail("barrier %d: more than %d threads come", number, threads);
}

int barrier(int number, int threads, bool vote) {
    static const char *const names[16] = {"__syncthreads", "barrier 1", "barrier 2", "barrier 3", "barrier 4", "barrier 5", "barrier 6", "barrier 7",
                                          "barrier 8", "barrier 9", "barrier 10", "barrier 11", "barrier 12", "barrier 13", "barrier 14", "barrier 15"};
    come(number, threads, vote);
    Thread *me = current;
    Block *b = me->block;
    put_to_sleep(me, names[number], b->barriers + number);
    check_barrier(b, number, threads ? threads : b->alive);
    give_way();
    return me->votes;
}

void barrier_arrive(int number, int threads) {
    come(number, threads, false);
    check_barrier(current->block, number, threads);
}

// ---- clusters ----

void check_cluster(Cluster *c) {
    if (c->arrived == 0 || c->arrived < c->alive) return;
    c->arrived = 0;
    c->turn++;
    for (int i = 0; i < c->size; i++) wake_at(c->blocks[i], c);
}

Cluster *cluster() {
    if (!current->block->cluster) fail("an instruction of clusters in a launch without");
    return current->block->cluster;
}

void cluster_barrier_arrive() {
    Cluster *c = cluster();
    if (current->cluster_turn) fail("it arrives at the cluster's barrier again before it has waited");
    current->cluster_turn = c->turn + 1;
    c->arrived++;
    check_cluster(c);
    pause();
}

void cluster_barrier_wait() {
    Cluster *c = cluster();
    if (!current->cluster_turn) fail("it waits at the cluster's barrier and has not arrived");
    if (c->turn < current->cluster_turn) sleep("the cluster's barrier", c);
    else pause();
    current->cluster_turn = 0;
}

} // namespace emulated
