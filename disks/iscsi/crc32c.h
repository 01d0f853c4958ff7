// CRC32C, the digest of iSCSI's headers and data (RFC 7143 section 13.1, RFC 3385): polynomial 1EDC6F41h, reflected.
#pragma once

#include <span>

#include "core/base/types.h"

namespace lodge::iscsi {

// Of `bytes` behind those whose sum is `before`. In a PDU it lies least significant byte first.
u32 crc32c(std::span<const u8> bytes, u32 before = 0);
// The same without the CPU's instruction; for CPUs that lack it, and for tests.
u32 crc32c_by_table(std::span<const u8> bytes, u32 before = 0);

}  // namespace lodge::iscsi
