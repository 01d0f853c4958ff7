/* Calls, returns and computed jumps. */
#include "bench.h"

enum { kProgramSize = 20000, kObjects = 4096, kClasses = 8 };

static __attribute__((noinline, noclone, optimize("no-optimize-sibling-calls"))) uint32_t fib(uint32_t n) {
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

uint64_t run_fib(uint32_t work) {
    volatile uint32_t n = work; /* so that the compiler cannot unfold the first calls */
    return fib(n);
}

/* --- Threaded code: every operation ends with a jump of its own to the next one's label. */

static uint8_t program[kProgramSize + 1];

void prepare_dispatch(void) {
    uint64_t random = 2;
    for (uint32_t i = 0; i < kProgramSize; ++i) program[i] = (uint8_t)(next_random(&random) % 15);
    program[kProgramSize] = 15;
}

static uint32_t thread(const uint8_t* at, uint32_t a) {
    static const void* const labels[] = {&&op0, &&op1, &&op2,  &&op3,  &&op4,  &&op5,  &&op6,  &&op7,
                                         &&op8, &&op9, &&op10, &&op11, &&op12, &&op13, &&op14, &&end};
    uint32_t b = 1;
#define NEXT goto* labels[*at++]
    NEXT;
op0: a += b; NEXT;
op1: a ^= b; NEXT;
op2: b += a; NEXT;
op3: b -= a >> 3; NEXT;
op4: a = a << 5 | a >> 27; NEXT;
op5: a *= 5; NEXT;
op6: b ^= a << 7; NEXT;
op7: a = ~a; NEXT;
op8: b += 77; NEXT;
op9: a -= b; NEXT;
op10: a |= b & 255; NEXT;
op11: b = b << 11 | b >> 21; NEXT;
op12: if (a & 1) a += 3; NEXT;
op13: b = a + b * 3; NEXT;
op14: a ^= a >> 9; NEXT;
end:
    return a ^ b;
#undef NEXT
}

uint64_t run_dispatch(uint32_t work) {
    uint64_t checksum = 0;
    while (work--) checksum = stir(checksum, thread(program, work));
    return checksum;
}

/* --- Objects behind tables of methods, in random order, as C++ code has them. */

struct shape;
struct methods {
    uint32_t (*area)(const struct shape*);
    void (*grow)(struct shape*, uint32_t);
};
struct shape {
    const struct methods* methods;
    uint32_t width, height;
};

#define CLASS(n, expression)                                                             \
    static uint32_t area##n(const struct shape* shape) { return expression; }            \
    static void grow##n(struct shape* shape, uint32_t by) { shape->width += by * n + 1; }
CLASS(0, shape->width* shape->height)
CLASS(1, shape->width* shape->width)
CLASS(2, shape->width* shape->height / 2)
CLASS(3, (shape->width + shape->height) * 2)
CLASS(4, shape->height* shape->height * 3)
CLASS(5, shape->width ^ shape->height)
CLASS(6, shape->width * 7 + shape->height)
CLASS(7, shape->height - shape->width)
#undef CLASS

static const struct methods classes[kClasses] = {{area0, grow0}, {area1, grow1}, {area2, grow2}, {area3, grow3},
                                                 {area4, grow4}, {area5, grow5}, {area6, grow6}, {area7, grow7}};
static struct shape shapes[kObjects];

void prepare_virtual(void) {
    uint64_t random = 3;
    for (uint32_t i = 0; i < kObjects; ++i) {
        shapes[i].methods = &classes[next_random(&random) % kClasses];
        shapes[i].width = next_random(&random) % 100;
        shapes[i].height = next_random(&random) % 100;
    }
}

uint64_t run_virtual(uint32_t work) {
    uint64_t checksum = 0;
    while (work--) {
        uint32_t sum = 0;
        for (uint32_t i = 0; i < kObjects; ++i) {
            sum += shapes[i].methods->area(&shapes[i]);
            shapes[i].methods->grow(&shapes[i], sum & 3);
        }
        checksum = stir(checksum, sum);
    }
    return checksum;
}
