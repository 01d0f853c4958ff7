// Any bytes as a stream of PDUs, torn apart anywhere: it must be cut the same way as in one piece.
#include <cstdlib>
#include <vector>

#include "disks/iscsi/pdu.h"

using namespace lodge;
using namespace lodge::iscsi;

namespace {

struct Seen {
    std::vector<u8> bytes;
    PduStream::Trouble trouble = PduStream::Trouble::none;
    bool operator==(const Seen&) const = default;
};

Seen cut(std::span<const u8> bytes, Digests digests, size_t piece, bool by_space) {
    Seen seen;
    PduStream stream(8192);
    stream.set_digests(digests);
    std::vector<u8> scratch(piece);
    while (!bytes.empty()) {
        if (by_space) {
            size_t moved = 0;
            for (const auto& space : stream.space(scratch)) {
                const size_t count = std::min(space.size(), bytes.size());
                if (count) std::memcpy(space.data(), bytes.data(), count);
                bytes = bytes.subspan(count);
                moved += count;
            }
            stream.arrived(moved);
        } else {
            const size_t count = std::min(piece, bytes.size());
            stream.arrived(bytes.first(count));
            bytes = bytes.subspan(count);
        }
        while (const auto pdu = stream.next()) {
            const auto header = pdu->header.bytes();
            seen.bytes.insert(seen.bytes.end(), header.begin(), header.end());
            seen.bytes.insert(seen.bytes.end(), pdu->additional.begin(), pdu->additional.end());
            seen.bytes.insert(seen.bytes.end(), pdu->data.begin(), pdu->data.end());
            seen.bytes.push_back(pdu->data_damaged);
        }
        stream.keep();
        if (stream.trouble() != PduStream::Trouble::none) break;
    }
    seen.trouble = stream.trouble();
    return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    if (size < 2) return 0;
    const Digests digests{bool(data[0] & 1), bool(data[0] & 2)};
    const std::span<const u8> bytes(data + 2, size - 2);
    const Seen whole = cut(bytes, digests, bytes.size() + 1, false);
    if (cut(bytes, digests, 1 + data[1], false) != whole) std::abort();
    if (cut(bytes, digests, 1 + data[1], true) != whole) std::abort();
    return 0;
}
