/* The x87's own 80-bit numbers: escape times of z * z + c over a grid, and a sum by Horner's rule. */
#include "bench.h"

enum { kWidth = 24, kHeight = 16, kIterations = 60 };

static int escape_time(long double cx, long double cy) {
    long double x = 0, y = 0;
    int count = 0;
    while (count < kIterations && x * x + y * y < 4) {
        const long double next = x * x - y * y + cx;
        y = 2 * x * y + cy;
        x = next;
        ++count;
    }
    return count;
}

uint64_t run_long_double(uint32_t work) {
    uint64_t checksum = 0;
    long double sum = 0;
    while (work--) {
        for (int i = 0; i < kHeight; ++i) {
            for (int j = 0; j < kWidth; ++j) {
                const long double cx = -2 + 3 * (long double)j / kWidth, cy = -1 + 2 * (long double)i / kHeight;
                const int time = escape_time(cx, cy);
                checksum = stir(checksum, (uint64_t)time);
                sum = (sum * 7 + time) / 11;
            }
        }
    }
    return stir(checksum, (uint64_t)(sum * 1e15L));
}
