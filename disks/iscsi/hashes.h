// The hash functions of CHAP, by libcrypto: MD5 (RFC 1321) and SHA-256 (FIPS 180-4). Empty if the library refuses one.
#pragma once

#include <span>
#include <vector>

#include "core/base/types.h"

namespace lodge::iscsi {

std::vector<u8> md5(std::span<const u8> message);     // 16 bytes
std::vector<u8> sha256(std::span<const u8> message);  // 32 bytes

}  // namespace lodge::iscsi
