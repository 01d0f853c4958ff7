#include "disks/iscsi/hashes.h"

#include <openssl/evp.h>

namespace lodge::iscsi {

namespace {

std::vector<u8> digest(const EVP_MD* kind, std::span<const u8> message) {
    std::vector<u8> hash(EVP_MAX_MD_SIZE);
    unsigned length = 0;
    if (!EVP_Digest(message.data(), message.size(), hash.data(), &length, kind, nullptr)) length = 0;
    hash.resize(length);
    return hash;
}

}  // namespace

std::vector<u8> md5(std::span<const u8> message) {
    return digest(EVP_md5(), message);
}

std::vector<u8> sha256(std::span<const u8> message) {
    return digest(EVP_sha256(), message);
}

}  // namespace lodge::iscsi
