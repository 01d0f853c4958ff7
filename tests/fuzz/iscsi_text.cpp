// Any text as a login's: pairs, values, and what they are negotiated to.
#include <algorithm>
#include <cstdlib>

#include "disks/iscsi/chap.h"
#include "disks/iscsi/parameters.h"
#include "disks/iscsi/text_keys.h"

using namespace lodge;
using namespace lodge::iscsi;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    const auto pairs = parse_text({data, size});
    if (!pairs) return 0;
    Negotiation leading(Offer{}, true), joining(Offer{}, false);
    for (const TextPair& pair : *pairs) {
        leading.take(pair.key, pair.value);
        joining.take(pair.key, pair.value);
        number_of(pair.value);
        normal_name(pair.value);
        choose_algorithm(pair.value);
        if (const auto bytes = bytes_of(pair.value, 1024))
            if (bytes_of(text_of(*bytes), 1024) != bytes && !bytes->empty()) std::abort();
    }
    const Parameters& agreed = leading.parameters();
    if (agreed.max_burst < 512 || agreed.first_burst < 512 || agreed.initiator_receive_bytes < 512) std::abort();
    if (agreed.max_connections < 1 || agreed.max_outstanding_r2t < 1) std::abort();
    return 0;
}
