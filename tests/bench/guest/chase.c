/* Loads that each need the last one's result, over more and more memory: 16 KiB, 256 KiB, 8 MiB. */
#include "bench.h"

#include <stdlib.h>

enum { kNode = 64, kNodeWords = kNode / sizeof(void*) };

/* A permuted list of nodes that fills `bytes`, each holding the next one's address. */
static void** make_chain(size_t bytes) {
    const size_t count = bytes / kNode;
    void** nodes = aligned_alloc(4096, bytes);
    uint32_t* order = malloc(count * sizeof *order);
    require(nodes && order, "memory");
    uint64_t random = 4;
    for (size_t i = 0; i < count; ++i) order[i] = (uint32_t)i;
    for (size_t i = count - 1; i > 0; --i) {
        const size_t j = next_random(&random) % (i + 1);
        const uint32_t kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
    for (size_t i = 0; i < count; ++i) {
        void** node = nodes + order[i] * kNodeWords;
        node[0] = nodes + order[(i + 1) % count] * kNodeWords;
        node[1] = (void*)i;
    }
    void** first = nodes + order[0] * kNodeWords;
    free(order);
    return first;
}

static void **small, **middle, **large;

void prepare_chase_16k(void) {
    if (!small) small = make_chain(16u << 10);
}
void prepare_chase_256k(void) {
    if (!middle) middle = make_chain(256u << 10);
}
void prepare_chase_8m(void) {
    if (!large) large = make_chain(8u << 20);
}

static uint64_t chase(void** node, uint32_t steps) {
    while (steps--) node = node[0];
    return stir(1, (uintptr_t)node[1]);
}

uint64_t run_chase_16k(uint32_t work) { return chase(small, work); }
uint64_t run_chase_256k(uint32_t work) { return chase(middle, work); }
uint64_t run_chase_8m(uint32_t work) { return chase(large, work); }
