// MMX, SSE and later: which file binds what.
#include "core/interp/simd.h"

namespace lodge {

InsnHandler bind_simd(const Insn& insn) {
    for (auto* bind_part : {simd::bind_move, simd::bind_integer, simd::bind_shuffle, simd::bind_float,
                            simd::bind_convert, simd::bind_sse4, simd::bind_crypto, simd::bind_strings})
        if (InsnHandler handler = bind_part(insn)) return handler;
    return nullptr;
}

}  // namespace lodge
