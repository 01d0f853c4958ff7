/* Bodies that attract each other, in double precision. Built twice: NBODY is the function's name, and the compiler's
 * options say whether the arithmetic is the x87's or SSE2's. The two round differently, so their checksums differ. */
#include "bench.h"

enum { kBodies = 6 };

struct body {
    double x, y, z, vx, vy, vz, mass;
};

static void step(struct body* bodies, double time) {
    for (int i = 0; i < kBodies; ++i) {
        for (int j = i + 1; j < kBodies; ++j) {
            struct body *a = &bodies[i], *b = &bodies[j];
            const double dx = b->x - a->x, dy = b->y - a->y, dz = b->z - a->z;
            const double squared = dx * dx + dy * dy + dz * dz + 0.01;
            const double pull = time / (squared * __builtin_sqrt(squared));
            a->vx += dx * b->mass * pull;
            a->vy += dy * b->mass * pull;
            a->vz += dz * b->mass * pull;
            b->vx -= dx * a->mass * pull;
            b->vy -= dy * a->mass * pull;
            b->vz -= dz * a->mass * pull;
        }
    }
    for (int i = 0; i < kBodies; ++i) {
        bodies[i].x += time * bodies[i].vx;
        bodies[i].y += time * bodies[i].vy;
        bodies[i].z += time * bodies[i].vz;
    }
}

uint64_t NBODY(uint32_t work) {
    struct body bodies[kBodies];
    uint64_t random = 7;
    for (int i = 0; i < kBodies; ++i) {
        double* values = &bodies[i].x;
        for (int j = 0; j < 7; ++j) values[j] = (double)(next_random(&random) >> 8) / (1 << 24);
    }
    while (work--) step(bodies, 0.001);
    return checksum_bytes(bodies, sizeof bodies);
}
