// Digests, hashes, PDUs as bytes, text.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "disks/iscsi/chap.h"
#include "disks/iscsi/crc32c.h"
#include "disks/iscsi/hashes.h"
#include "disks/iscsi/output_queue.h"
#include "disks/iscsi/text_keys.h"

using namespace lodge;
using namespace lodge::iscsi;

namespace {

std::span<const u8> bytes_in(std::string_view text) {
    return {reinterpret_cast<const u8*>(text.data()), text.size()};
}

std::vector<u8> all_of(const OutputQueue& queue) {
    std::vector<u8> bytes;
    iovec pieces[64];
    const size_t count = queue.gather(pieces);
    for (size_t i = 0; i < count; ++i) {
        const auto* from = static_cast<const u8*>(pieces[i].iov_base);
        bytes.insert(bytes.end(), from, from + pieces[i].iov_len);
    }
    return bytes;
}

// Three PDUs, of 0, 5 and 300 bytes of data.
std::vector<u8> some_pdus(Digests digests) {
    OutputQueue queue;
    queue.set_digests(digests);
    u32 tag = 1;
    for (const size_t size : {0, 5, 300}) {
        Header header(Opcode::nop_out);
        header.set_initiator_tag(tag++);
        queue.push(header, std::vector<u8>(size, static_cast<u8>(tag)));
    }
    return all_of(queue);
}

}  // namespace

// RFC 3720 appendix B.4, and the check value of the polynomial.
TEST_CASE("CRC32C") {
    CHECK(crc32c(bytes_in("123456789")) == 0xE3069283);
    CHECK(crc32c(std::vector<u8>(32, 0)) == 0x8A9136AA);
    CHECK(crc32c(std::vector<u8>(32, 0xFF)) == 0x62A8AB43);
    std::vector<u8> bytes;
    for (u32 i = 0; i < 1000; ++i) bytes.push_back(static_cast<u8>(i * i));
    for (size_t at = 0; at < bytes.size(); at += 77) {
        const auto head = std::span(bytes).first(at), tail = std::span(bytes).subspan(at);
        CHECK(crc32c(tail, crc32c(head)) == crc32c_by_table(bytes));
    }
}

// RFC 1321 A.5, FIPS 180-4's examples; and messages around the end of a block.
TEST_CASE("hashes") {
    CHECK(text_of(md5(bytes_in(""))) == "0xd41d8cd98f00b204e9800998ecf8427e");
    CHECK(text_of(md5(bytes_in("abc"))) == "0x900150983cd24fb0d6963f7d28e17f72");
    CHECK(text_of(md5(bytes_in("12345678901234567890123456789012345678901234567890123456789012345678901234567890"))) ==
          "0x57edf4a22be3c955ac49da2e2107b67a");
    CHECK(text_of(sha256(bytes_in("abc"))) == "0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(text_of(sha256(bytes_in("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))) ==
          "0x248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST_CASE("a CHAP response is the hash of identifier, secret and challenge") {
    const std::vector<u8> challenge{1, 2, 3};
    CHECK(chap_response(ChapAlgorithm::md5, 'a', "b", bytes_in("c")) == md5(bytes_in("abc")));
    CHECK(chap_response(ChapAlgorithm::sha256, 'a', "b", bytes_in("c")) == sha256(bytes_in("abc")));
    CHECK(choose_algorithm("5") == ChapAlgorithm::md5);
    CHECK(choose_algorithm("8,7,5") == ChapAlgorithm::sha256);
    CHECK(choose_algorithm("6,8") == std::nullopt);
    CHECK(same_bytes(challenge, challenge));
    CHECK_FALSE(same_bytes(challenge, std::vector<u8>{1, 2, 4}));
    CHECK_FALSE(same_bytes(challenge, std::vector<u8>{1, 2}));
}

TEST_CASE("a stream is cut into its PDUs wherever its bytes are torn apart") {
    for (const Digests digests : {Digests{}, Digests{true, false}, Digests{false, true}, Digests{true, true}}) {
        const std::vector<u8> bytes = some_pdus(digests);
        for (size_t size = 1; size <= bytes.size(); size = size < 60 ? size + 1 : size + 61) {
            PduStream stream(4096);
            stream.set_digests(digests);
            std::vector<u8> scratch(size);
            std::vector<size_t> sizes;
            u32 tag = 0;
            for (size_t at = 0; at < bytes.size();) {
                const auto space = stream.space(scratch);
                size_t moved = 0;
                for (const auto& piece : space) {
                    const size_t count = std::min({piece.size(), bytes.size() - at, size - std::min(size, moved)});
                    if (count) std::memcpy(piece.data(), &bytes[at], count);
                    at += count;
                    moved += count;
                    if (count < piece.size()) break;
                }
                stream.arrived(moved);
                while (const auto pdu = stream.next()) {
                    CHECK(pdu->header.initiator_tag() == ++tag);
                    CHECK_FALSE(pdu->data_damaged);
                    sizes.push_back(pdu->data.size());
                    if (!pdu->data.empty()) CHECK(pdu->data.back() == tag + 1);
                }
                stream.keep();
            }
            CHECK(sizes == std::vector<size_t>{0, 5, 300});
            CHECK(stream.kept_bytes() == 0);
        }
    }
}

TEST_CASE("PDUs that are put aside come later") {
    const std::vector<u8> bytes = some_pdus({});
    PduStream stream(4096);
    stream.arrived(bytes);
    CHECK(stream.next()->header.initiator_tag() == 1);
    stream.keep();
    stream.arrived(std::span<const u8>(bytes).first(48));
    CHECK(stream.next()->header.initiator_tag() == 2);
    CHECK(stream.next()->header.initiator_tag() == 3);
    CHECK(stream.next()->header.initiator_tag() == 1);
    CHECK_FALSE(stream.next());
}

TEST_CASE("damage is found") {
    const Digests both{true, true};
    const std::vector<u8> good = some_pdus(both);
    for (size_t at = 0; at < good.size(); ++at) {
        std::vector<u8> bytes = good;
        bytes[at] ^= 0x10;
        PduStream stream(4096);
        stream.set_digests(both);
        stream.arrived(bytes);
        bool found = false;
        while (const auto pdu = stream.next()) found |= pdu->data_damaged;
        CHECK((found || stream.trouble() == PduStream::Trouble::header_digest));
    }
}

TEST_CASE("a PDU that is too long is refused before it has come") {
    Header header(Opcode::nop_out);
    header.set_data_bytes(4097);
    PduStream stream(4096);
    stream.arrived(header.bytes());
    CHECK_FALSE(stream.next());
    CHECK(stream.trouble() == PduStream::Trouble::too_long);
}

TEST_CASE("output is sent in any pieces") {
    OutputQueue queue;
    queue.set_digests({true, true});
    const auto data = std::make_shared<const std::vector<u8>>(std::vector<u8>{1, 2, 3, 4, 5, 6, 7, 8, 9});
    queue.push(Header(Opcode::data_in), data, 2, 5);
    queue.push(Header(Opcode::nop_in));
    const std::vector<u8> whole = all_of(queue);
    REQUIRE(whole.size() == 48 + 4 + 8 + 4 + 48 + 4);
    CHECK(std::vector<u8>(whole.begin() + 52, whole.begin() + 60) == std::vector<u8>{3, 4, 5, 6, 7, 0, 0, 0});
    std::vector<u8> sent;
    while (!queue.empty()) {
        const std::vector<u8> rest = all_of(queue);
        CHECK(rest.size() == queue.bytes());
        const size_t count = std::min<size_t>(rest.size(), 7);
        sent.insert(sent.end(), rest.begin(), rest.begin() + static_cast<long>(count));
        queue.sent(count);
    }
    CHECK(sent == whole);
}

TEST_CASE("text") {
    std::vector<u8> text;
    append_text(text, "A", "1");
    append_text(text, "B-b", "");
    const auto pairs = parse_text(text);
    REQUIRE(pairs);
    CHECK(pairs->size() == 2);
    CHECK((*pairs)[1].key == "B-b");
    CHECK((*pairs)[1].value.empty());
    text.pop_back();
    CHECK_FALSE(parse_text(text));
    CHECK(parse_text({}));
    for (const std::string_view bad :
         {std::string_view("A\0", 2), std::string_view("=1\0", 3), std::string_view("a b=1\0", 6)})
        CHECK_FALSE(parse_text(bytes_in(bad)));
    CHECK_FALSE(parse_text(bytes_in(std::string(64, 'k') + "=1" + '\0')));
    CHECK_FALSE(parse_text(std::vector<u8>(kMostTextBytes + 1)));
}

TEST_CASE("values") {
    CHECK(number_of("0") == 0);
    CHECK(number_of("262144") == 262144);
    CHECK(number_of("0x1F") == 31);
    CHECK(number_of("18446744073709551615") == ~u64{0});
    for (const char* bad : {"", "-1", "1 ", "0x", "18446744073709551616", "1f", "0x10000000000000000"})
        CHECK_FALSE(number_of(bad));
    CHECK(bytes_of("0x0102fF", 3) == std::vector<u8>{1, 2, 255});
    CHECK(bytes_of("0x102", 3) == std::vector<u8>{1, 2});
    CHECK(bytes_of("0bAQL/", 3) == std::vector<u8>{1, 2, 255});
    CHECK(bytes_of("0BAQ==", 3) == std::vector<u8>{1});
    for (const char* bad : {"", "0x", "0102", "0x0g", "0bA", "0b=A==", "0x01020304"}) CHECK_FALSE(bytes_of(bad, 3));
    CHECK(list_of("a,,b") == std::vector<std::string_view>{"a", "", "b"});
    CHECK(normal_name("iqn.2026-11.IO.lodge:A") == "iqn.2026-11.io.lodge:a");
    for (const char* bad : {"", "a b", "a\x01", "a,b"}) CHECK_FALSE(normal_name(bad));
    CHECK_FALSE(normal_name(std::string(224, 'a')));
}
