// CHAP as iSCSI uses it (RFC 7143 section 12.1.3, RFC 1994): arithmetic only; login.cpp has the conversation.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/types.h"

namespace lodge::iscsi {

// CHAP_A. Of those that RFC 7143 lists we know the one that everybody must, and the strongest that initiators have.
enum class ChapAlgorithm : u8 { md5 = 5, sha256 = 7 };

constexpr size_t kMostChallengeBytes = 1024;

// The first of an initiator's list (in its order of preference) that we know.
std::optional<ChapAlgorithm> choose_algorithm(std::string_view list);
size_t challenge_bytes(ChapAlgorithm algorithm);
// RFC 1994 section 4.1: the hash of identifier, secret and challenge.
std::vector<u8> chap_response(ChapAlgorithm algorithm, u8 identifier, std::string_view secret,
                              std::span<const u8> challenge);
// In a time that depends on the lengths only.
bool same_bytes(std::span<const u8> a, std::span<const u8> b);

}  // namespace lodge::iscsi
