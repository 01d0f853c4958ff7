#include "disks/iscsi/chap.h"

#include "disks/iscsi/hashes.h"
#include "disks/iscsi/text_keys.h"

namespace lodge::iscsi {

std::optional<ChapAlgorithm> choose_algorithm(std::string_view list) {
    for (const std::string_view item : list_of(list)) {
        const auto number = number_of(item);
        if (number == static_cast<u64>(ChapAlgorithm::md5)) return ChapAlgorithm::md5;
        if (number == static_cast<u64>(ChapAlgorithm::sha256)) return ChapAlgorithm::sha256;
    }
    return std::nullopt;
}

size_t challenge_bytes(ChapAlgorithm algorithm) {
    return algorithm == ChapAlgorithm::md5 ? 16 : 32;
}

std::vector<u8> chap_response(ChapAlgorithm algorithm, u8 identifier, std::string_view secret,
                              std::span<const u8> challenge) {
    std::vector<u8> message{identifier};
    message.insert(message.end(), secret.begin(), secret.end());
    message.insert(message.end(), challenge.begin(), challenge.end());
    return algorithm == ChapAlgorithm::md5 ? md5(message) : sha256(message);
}

bool same_bytes(std::span<const u8> a, std::span<const u8> b) {
    if (a.size() != b.size()) return false;
    u8 different = 0;
    for (size_t i = 0; i < a.size(); ++i) different |= a[i] ^ b[i];
    return different == 0;
}

}  // namespace lodge::iscsi
