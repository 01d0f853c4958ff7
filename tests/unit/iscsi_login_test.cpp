// Logins: who comes in, and what is agreed.
#include <doctest/doctest.h>

#include "tests/iscsi/initiator.h"

using namespace lodge;
using namespace lodge::iscsi_test;

namespace {

constexpr u8 kSecurity = 0x00, kSecurityToOperational = 0x81, kOperationalToFull = 0x87, kSecurityToFull = 0x83;

u16 status_of(const std::optional<Received>& answer) {
    return answer ? answer->header.get<u16>(36) : 0xFFFF;
}

std::string response_to(const Keys& question, const std::string& secret) {
    const auto challenge = bytes_of(question.at("CHAP_C"), 1024).value();
    const u8 identifier = static_cast<u8>(number_of(question.at("CHAP_I")).value());
    return text_of(chap_response(ChapAlgorithm::md5, identifier, secret, challenge));
}

// Up to the target's challenge.
Keys challenged(Initiator& initiator, const std::string& algorithms = "5") {
    Keys keys = initiator.names();
    keys["AuthMethod"] = "CHAP,None";
    const auto method = initiator.login_step(kSecurityToOperational, keys);
    CHECK(status_of(method) == 0);
    CHECK(method->header.flags() == 0);  // the stage does not end
    CHECK(Initiator::keys_of(method->data)["AuthMethod"] == "CHAP");
    const auto challenge = initiator.login_step(kSecurity, {{"CHAP_A", algorithms}});
    CHECK(status_of(challenge) == 0);
    return Initiator::keys_of(challenge->data);
}

Site& with_secret(Site& site) {
    site.directory.proof.accepted = {{"other", "another secret"}, {"joe", "twelve bytes"}};
    site.directory.proof.mutual = ChapIdentity{"target", "its own secret"};
    return site;
}

}  // namespace

TEST_CASE("a login without proof, stage by stage") {
    Site site;
    Initiator initiator(site);
    Keys keys = initiator.names();
    keys["AuthMethod"] = "None";
    const auto first = initiator.login_step(kSecurityToOperational, keys);
    CHECK(status_of(first) == 0);
    CHECK(first->header.flags() == kSecurityToOperational);
    Keys answer = Initiator::keys_of(first->data);
    CHECK(answer["TargetPortalGroupTag"] == "1");
    CHECK(answer["AuthMethod"] == "None");
    const auto second = initiator.login_step(kOperationalToFull, {{"MaxBurstLength", "8192"}});
    CHECK(status_of(second) == 0);
    CHECK(second->header.flags() == kOperationalToFull);
    CHECK(second->header.get<u16>(14) != 0);
    CHECK(second->header.get<u32>(28) == 100);
    CHECK(second->header.get<u32>(24) == first->header.get<u32>(24) + 1);
    answer = Initiator::keys_of(second->data);
    CHECK(answer["MaxBurstLength"] == "8192");
    CHECK(answer["MaxRecvDataSegmentLength"] == "262144");
    CHECK(site.service.sessions().size() == 1);
    CHECK(site.service.sessions()[0].target == "iqn.2026-11.io.lodge:one");
}

TEST_CASE("what iPXE says") {
    Site site;
    Initiator initiator(site);
    Keys keys = initiator.names();
    keys["AuthMethod"] = "None";
    CHECK(status_of(initiator.login_step(kSecurityToOperational, keys)) == 0);
    const auto answer = initiator.login_step(kOperationalToFull, {{"HeaderDigest", "None"},
                                                                  {"DataDigest", "None"},
                                                                  {"MaxConnections", "1"},
                                                                  {"InitialR2T", "Yes"},
                                                                  {"ImmediateData", "No"},
                                                                  {"MaxRecvDataSegmentLength", "8192"},
                                                                  {"MaxBurstLength", "262144"},
                                                                  {"FirstBurstLength", "65536"},
                                                                  {"DefaultTime2Wait", "0"},
                                                                  {"DefaultTime2Retain", "0"},
                                                                  {"MaxOutstandingR2T", "1"},
                                                                  {"DataPDUInOrder", "Yes"},
                                                                  {"DataSequenceInOrder", "Yes"},
                                                                  {"ErrorRecoveryLevel", "0"}});
    CHECK(status_of(answer) == 0);
    const Keys agreed = Initiator::keys_of(answer->data);
    CHECK(agreed == Keys{{"HeaderDigest", "None"},
                         {"DataDigest", "None"},
                         {"MaxConnections", "1"},
                         {"InitialR2T", "Yes"},
                         {"ImmediateData", "No"},
                         {"MaxRecvDataSegmentLength", "262144"},
                         {"MaxBurstLength", "262144"},
                         {"FirstBurstLength", "65536"},
                         {"DefaultTime2Wait", "0"},
                         {"DefaultTime2Retain", "0"},
                         {"MaxOutstandingR2T", "1"},
                         {"DataPDUInOrder", "Yes"},
                         {"DataSequenceInOrder", "Yes"},
                         {"ErrorRecoveryLevel", "0"}});
}

TEST_CASE("keys are decided as chapter 13 says") {
    Site site;
    Initiator initiator(site);
    REQUIRE(initiator.log_in({{"HeaderDigest", "X,CRC32C,None"},
                              {"DataDigest", "None,CRC32C"},
                              {"MaxConnections", "9"},
                              {"InitialR2T", "No"},
                              {"ImmediateData", "Maybe"},
                              {"MaxRecvDataSegmentLength", "511"},
                              {"MaxBurstLength", "0x100000"},
                              {"FirstBurstLength", "16777216"},
                              {"DefaultTime2Wait", "5"},
                              {"DefaultTime2Retain", "30"},
                              {"MaxOutstandingR2T", "0"},
                              {"DataPDUInOrder", "No"},
                              {"ErrorRecoveryLevel", "2"},
                              {"TaskReporting", "FastAbort,RFC3720"},
                              {"OFMarker", "Yes"},
                              {"OFMarkInt", "1~2"},
                              {"X-org.example", "1"},
                              {"InitiatorAlias", "a"}}));
    Keys& agreed = initiator.answered;
    CHECK(agreed["HeaderDigest"] == "CRC32C");
    CHECK(agreed["DataDigest"] == "None");
    CHECK(agreed["MaxConnections"] == "4");
    CHECK(agreed["InitialR2T"] == "No");
    CHECK(agreed["ImmediateData"] == "Reject");
    CHECK(agreed["MaxRecvDataSegmentLength"] == "262144");
    CHECK(agreed["MaxBurstLength"] == "1048576");
    CHECK(agreed["FirstBurstLength"] == "Reject");
    CHECK(agreed["DefaultTime2Wait"] == "5");
    CHECK(agreed["DefaultTime2Retain"] == "0");
    CHECK(agreed["MaxOutstandingR2T"] == "Reject");
    CHECK(agreed["DataPDUInOrder"] == "Yes");
    CHECK(agreed["ErrorRecoveryLevel"] == "0");
    CHECK(agreed["TaskReporting"] == "RFC3720");
    CHECK(agreed["OFMarker"] == "No");
    CHECK(agreed["OFMarkInt"] == "Reject");
    CHECK(agreed["X-org.example"] == "NotUnderstood");
    CHECK_FALSE(agreed.contains("InitiatorAlias"));
}

TEST_CASE("CHAP") {
    Site site;
    with_secret(site);
    Initiator initiator(site);
    SUBCASE("the right secret") {
        const Keys question = challenged(initiator);
        CHECK(question.at("CHAP_A") == "5");
        CHECK(question.at("CHAP_C").size() == 2 + 32);
        const auto answer = initiator.login_step(
            kSecurityToFull, {{"CHAP_N", "joe"}, {"CHAP_R", response_to(question, "twelve bytes")}});
        CHECK(status_of(answer) == 0);
        CHECK(answer->header.flags() == kSecurityToFull);
        CHECK(site.service.sessions().at(0).chap_name == "joe");
    }
    SUBCASE("SHA-256") {
        const Keys question = challenged(initiator, "7,5");
        CHECK(question.at("CHAP_A") == "7");
        const auto challenge = bytes_of(question.at("CHAP_C"), 1024).value();
        const u8 identifier = static_cast<u8>(number_of(question.at("CHAP_I")).value());
        const auto response = chap_response(ChapAlgorithm::sha256, identifier, "twelve bytes", challenge);
        CHECK(status_of(initiator.login_step(kSecurityToFull, {{"CHAP_N", "joe"}, {"CHAP_R", text_of(response)}})) ==
              0);
    }
    SUBCASE("a wrong secret") {
        const Keys question = challenged(initiator);
        CHECK(status_of(initiator.login_step(
                  kSecurityToFull, {{"CHAP_N", "joe"}, {"CHAP_R", response_to(question, "twelve bytez")}})) == 0x0201);
        CHECK(initiator.connection()->ending());
    }
    SUBCASE("another's name") {
        const Keys question = challenged(initiator);
        CHECK(status_of(initiator.login_step(
                  kSecurityToFull, {{"CHAP_N", "other"}, {"CHAP_R", response_to(question, "twelve bytes")}})) ==
              0x0201);
    }
    SUBCASE("no response") {
        challenged(initiator);
        CHECK(status_of(initiator.login_step(kSecurityToFull, {})) == 0x0201);
    }
    SUBCASE("none is offered") {
        Keys keys = initiator.names();
        keys["AuthMethod"] = "None";
        CHECK(status_of(initiator.login_step(kSecurityToOperational, keys)) == 0x0201);
    }
    SUBCASE("the stage is skipped") {
        CHECK_FALSE(initiator.log_in());
    }
    SUBCASE("no common algorithm") {
        Keys keys = initiator.names();
        keys["AuthMethod"] = "CHAP";
        initiator.login_step(kSecurity, keys);
        CHECK(status_of(initiator.login_step(kSecurity, {{"CHAP_A", "6"}})) == 0x0201);
    }
    CHECK(site.service.sessions().size() <= 1);
}

TEST_CASE("mutual CHAP") {
    Site site;
    with_secret(site);
    Initiator initiator(site);
    const Keys question = challenged(initiator);
    Keys keys{
        {"CHAP_N", "joe"}, {"CHAP_R", response_to(question, "twelve bytes")}, {"CHAP_I", "7"}, {"CHAP_C", "0x0102"}};
    u16 expected = 0;
    SUBCASE("answered") {}
    SUBCASE("the challenge is the target's own") {
        keys["CHAP_C"] = question.at("CHAP_C");
        expected = 0x0201;
    }
    SUBCASE("the challenge is none") {
        keys["CHAP_C"] = "hello";
        expected = 0x0201;
    }
    SUBCASE("the identifier is missing") {
        keys.erase("CHAP_I");
        expected = 0x0201;
    }
    const auto answer = initiator.login_step(kSecurityToFull, keys);
    CHECK(status_of(answer) == expected);
    if (expected) return;
    const Keys proof = Initiator::keys_of(answer->data);
    CHECK(proof.at("CHAP_N") == "target");
    CHECK(proof.at("CHAP_R") == text_of(chap_response(ChapAlgorithm::md5, 7, "its own secret", std::vector<u8>{1, 2})));
}

TEST_CASE("one secret for both directions proves nothing") {
    Site site;
    with_secret(site).directory.proof.mutual->secret = "twelve bytes";
    Initiator initiator(site);
    const Keys question = challenged(initiator);
    CHECK(status_of(initiator.login_step(kSecurityToFull, {{"CHAP_N", "joe"},
                                                           {"CHAP_R", response_to(question, "twelve bytes")},
                                                           {"CHAP_I", "7"},
                                                           {"CHAP_C", "0x0102"}})) == 0x0201);
}

TEST_CASE("logins that cannot be") {
    Site site;
    Initiator initiator(site);
    Keys keys = initiator.names();
    SUBCASE("no initiator") {
        keys.erase("InitiatorName");
        CHECK(status_of(initiator.login_step(kOperationalToFull, keys)) == 0x0207);
    }
    SUBCASE("no target") {
        keys.erase("TargetName");
        CHECK(status_of(initiator.login_step(kOperationalToFull, keys)) == 0x0207);
    }
    SUBCASE("an unknown target") {
        keys["TargetName"] = "iqn.2026-11.io.lodge:none";
        CHECK(status_of(initiator.login_step(kOperationalToFull, keys)) == 0x0203);
    }
    SUBCASE("an unknown kind of session") {
        keys["SessionType"] = "Other";
        CHECK(status_of(initiator.login_step(kOperationalToFull, keys)) == 0x0209);
    }
    SUBCASE("a session that is not there") {
        initiator.tsih = 99;
        CHECK(status_of(initiator.login_step(kOperationalToFull, keys)) == 0x020A);
    }
    SUBCASE("a version that is not there") {
        Header header = initiator.login_header(kOperationalToFull);
        header.set(3, u8{1});
        initiator.send(header);
        CHECK(status_of(initiator.next()) == 0x0205);
    }
    SUBCASE("SendTargets") {
        keys["SendTargets"] = "All";
        CHECK(status_of(initiator.login_step(kOperationalToFull, keys)) == 0x020B);
    }
    SUBCASE("a stage that is not there") {
        CHECK(status_of(initiator.login_step(0x8B, keys)) == 0x0200);
    }
    SUBCASE("a stage back") {
        CHECK(status_of(initiator.login_step(0x84, keys)) == 0x0200);
    }
    SUBCASE("a key twice") {
        CHECK(status_of(initiator.login_step(0x04, keys)) == 0);
        CHECK(status_of(initiator.login_step(0x04, {{"InitialR2T", "Yes"}})) == 0);
        CHECK(status_of(initiator.login_step(0x04, {{"InitialR2T", "No"}})) == 0x0200);
    }
    SUBCASE("another initiator in the middle") {
        CHECK(status_of(initiator.login_step(0x04, keys)) == 0);
        initiator.cid = 5;
        CHECK(status_of(initiator.login_step(kOperationalToFull, {})) == 0x0200);
    }
    SUBCASE("text that is none") {
        initiator.send(initiator.login_header(kOperationalToFull), std::vector<u8>{1, 2, 3, 4});
        CHECK(status_of(initiator.next()) == 0x0200);
    }
    SUBCASE("no end") {
        CHECK(status_of(initiator.login_step(0x04, keys)) == 0);
        u16 status = 0;
        for (int i = 0; i < 100 && status == 0; ++i) status = status_of(initiator.login_step(0x04, {}));
        CHECK(status == 0x0200);
    }
    SUBCASE("text without end") {
        u16 status = 0;
        const std::vector<u8> text(4096, 'A');
        for (int i = 0; i < 8 && status == 0; ++i) {
            initiator.send(initiator.login_header(0x44), text);
            status = status_of(initiator.next());
        }
        CHECK(status == 0x0200);
    }
    SUBCASE("no login at all") {
        initiator.send(initiator.command({0}, 0x81, 0));
        CHECK(initiator.connection()->dead());
    }
    CHECK(site.service.sessions().empty());
}

TEST_CASE("text in several requests") {
    Site site;
    Initiator initiator(site);
    std::vector<u8> text;
    for (const auto& [key, value] : initiator.names()) append_text(text, key, value);
    const auto half = std::span(text).first(20), rest = std::span(text).subspan(20);
    initiator.send(initiator.login_header(0x44), half);
    const auto first = initiator.next();
    CHECK(status_of(first) == 0);
    CHECK(first->header.flags() == 0x04);
    CHECK(first->data.empty());
    initiator.send(initiator.login_header(kOperationalToFull), rest);
    const auto second = initiator.next();
    CHECK(status_of(second) == 0);
    CHECK(second->header.flags() == kOperationalToFull);
}

TEST_CASE("a login has its time") {
    Site site;
    Initiator initiator(site);
    initiator.login_step(0x04, initiator.names());
    site.service.tick(14'999);
    CHECK_FALSE(initiator.connection()->ending());
    site.service.tick(15'000);
    CHECK(initiator.connection()->dead());
}

TEST_CASE("a discovery session lists targets, and does nothing else") {
    Site site;
    for (int i = 0; i < 300; ++i) site.directory.names.push_back("iqn.2026-11.io.lodge:disk" + std::to_string(i));
    Initiator initiator(site);
    REQUIRE(initiator.log_in({}, ""));
    std::vector<u8> text, answer;
    append_text(text, "SendTargets", "All");
    Header header = initiator.request(Opcode::text, 0x80);
    u32 pieces = 0;
    for (bool more = true; more; ++pieces) {
        initiator.send(header, text);
        const auto piece = initiator.next();
        REQUIRE(piece);
        CHECK(piece->data.size() <= 8192);
        answer.insert(answer.end(), piece->data.begin(), piece->data.end());
        more = piece->header.flags() & 0x40;
        CHECK(more == (piece->header.target_tag() != kNoTag));
        header = initiator.request(Opcode::text, 0x80);
        header.set_target_tag(piece->header.target_tag());
        text.clear();
    }
    CHECK(pieces > 1);
    const auto pairs = parse_text(std::span(answer).first(answer.size()));
    size_t names = 0, addresses = 0;
    for (const u8 byte : answer) names += byte == 0;
    CHECK(names == 2 * 302);
    const std::string whole(answer.begin(), answer.end());
    for (size_t at = 0; (at = whole.find("TargetAddress=192.0.2.9:3260,1", at)) != std::string::npos; ++at) ++addresses;
    CHECK(addresses == 302);
    initiator.send(initiator.command({0}, 0x81, 0));
    const auto refused = initiator.next();
    REQUIRE(refused);
    CHECK(refused->is(Opcode::reject));
    CHECK(refused->header.byte(2) == 4);
}

TEST_CASE("sessions and connections that come again") {
    Site site;
    Initiator first(site);
    REQUIRE(first.log_in({{"MaxConnections", "2"}}));
    const u64 id = site.service.sessions().at(0).id;
    SUBCASE("the same port begins anew") {
        Initiator again(site);
        REQUIRE(again.log_in());
        CHECK(site.service.sessions().size() == 1);
        CHECK(site.service.sessions().at(0).id != id);
        CHECK(first.connection()->ending());
    }
    SUBCASE("another port") {
        Initiator other(site, "iqn.2026-11.test:a", 2);
        REQUIRE(other.log_in());
        CHECK(site.service.sessions().size() == 2);
    }
    SUBCASE("a second connection, and a third too many") {
        Initiator second(site), third(site);
        second.tsih = third.tsih = first.tsih;
        second.cid = 1;
        REQUIRE(second.log_in({{"MaxBurstLength", "512"}}));
        CHECK(second.answered["MaxBurstLength"] == "Irrelevant");
        CHECK(site.service.sessions().at(0).connections == 2);
        third.cid = 2;
        CHECK(status_of(third.login_step(kOperationalToFull, third.names())) == 0x0206);
        first.lose();
        CHECK(site.service.sessions().at(0).connections == 1);
        second.lose();
        CHECK(site.service.sessions().empty());
    }
    SUBCASE("the same connection") {
        Initiator again(site);
        again.tsih = first.tsih;
        REQUIRE(again.log_in());
        CHECK(site.service.sessions().at(0).id == id);
        CHECK(site.service.sessions().at(0).connections == 1);
        CHECK(first.connection()->ending());
    }
    SUBCASE("another initiator's session") {
        Initiator other(site, "iqn.2026-11.test:b");
        other.tsih = first.tsih;
        CHECK(status_of(other.login_step(kOperationalToFull, other.names())) == 0x0208);
    }
}
