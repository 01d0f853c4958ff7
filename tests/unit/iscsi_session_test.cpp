// Commands and their data, in sessions that have logged in.
#include <doctest/doctest.h>

#include "tests/iscsi/initiator.h"

using namespace lodge;
using namespace lodge::iscsi_test;

namespace {

std::vector<u8> pattern(size_t size, u8 seed = 1) {
    std::vector<u8> data(size);
    for (size_t i = 0; i < size; ++i) data[i] = static_cast<u8>(seed + i / 512 * 7 + i);
    return data;
}

// All of a command's Data-In, and its status.
struct Ended {
    std::vector<u8> data;
    std::vector<Received> pdus;
    int status = -1;
    u8 flags = 0;
    u32 residual = 0;
    std::vector<u8> sense;
};

Ended result_of(Initiator& initiator) {
    Ended result;
    while (auto pdu = initiator.next()) {
        result.pdus.push_back(*pdu);
        if (pdu->is(Opcode::data_in)) {
            CHECK(pdu->header.get<u32>(40) == result.data.size());
            CHECK(pdu->header.get<u32>(36) == result.pdus.size() - 1);
            result.data.insert(result.data.end(), pdu->data.begin(), pdu->data.end());
            if (!(pdu->header.flags() & 0x01)) continue;
        } else if (!pdu->is(Opcode::scsi_response)) {
            return result;
        } else if (pdu->data.size() > 2) {
            result.sense.assign(pdu->data.begin() + 2, pdu->data.end());
        }
        result.status = pdu->header.byte(3);
        result.flags = pdu->header.flags() & 0x06;
        result.residual = pdu->header.get<u32>(44);
        return result;
    }
    return result;
}

std::vector<u8> read_all(Initiator& initiator, u32 lba, u16 blocks) {
    initiator.send(initiator.command(Initiator::read_10(lba, blocks), 0xC1, blocks * 512u));
    return result_of(initiator).data;
}

std::unique_ptr<Initiator> ready(Site& site, Keys keys = {}) {
    auto initiator = std::make_unique<Initiator>(site);
    REQUIRE(initiator->log_in(std::move(keys)));
    initiator->make_ready();
    return initiator;
}

Header management(Initiator& initiator, u8 function, u32 referenced = kNoTag) {
    Header header = initiator.request(Opcode::task_management, static_cast<u8>(0x80 | function), true);
    header.set_target_tag(referenced);
    header.set(32, initiator.command_sn - 1);
    return header;
}

}  // namespace

TEST_CASE("reads come in the segments and bursts that were agreed, the last with the status") {
    Site site;
    const auto initiator = ready(site, {{"MaxRecvDataSegmentLength", "1024"}, {"MaxBurstLength", "4096"}});
    initiator->send(initiator->command(Initiator::read_10(0, 20), 0xC1, 10240));
    const Ended result = result_of(*initiator);
    CHECK(result.status == 0);
    CHECK(result.data == std::vector<u8>(10240));
    CHECK(result.pdus.size() == 10);
    for (size_t i = 0; i < result.pdus.size(); ++i)
        CHECK(result.pdus[i].header.final() == (i == 3 || i == 7 || i == 9));
}

TEST_CASE("residuals") {
    Site site;
    const auto initiator = ready(site);
    const auto run = [&](const std::vector<u8>& cdb, u8 flags, u32 expected) {
        initiator->send(initiator->command(cdb, flags, expected));
        return result_of(*initiator);
    };
    Ended result = run(Initiator::read_10(0, 4), 0xC1, 4096);
    CHECK(result.flags == 0x02);
    CHECK(result.residual == 2048);
    result = run(Initiator::read_10(0, 4), 0xC1, 700);
    CHECK(result.data.size() == 700);
    CHECK(result.flags == 0x04);
    CHECK(result.residual == 1348);
    result = run(Initiator::read_10(0, 4), 0x81, 0);
    CHECK(result.data.empty());
    CHECK(result.flags == 0x04);
    CHECK(result.residual == 2048);
    // A command that is refused has moved nothing.
    result = run(Initiator::read_10(0xFFFF'FFF0, 4), 0xC1, 2048);
    CHECK(result.status == 2);
    CHECK(result.flags == 0x02);
    CHECK(result.residual == 2048);
    CHECK(result.sense.at(2) == 5);
    CHECK(result.sense.at(12) == 0x21);
    // The far end of what 32 bits can ask for is not read in vain.
    std::vector<u8> cdb(16);
    cdb[0] = 0x88;
    store_big_endian(&cdb[10], u32{2048});
    result = run(cdb, 0xC1, 512);
    CHECK(result.data.size() == 512);
    CHECK(result.residual == 2047 * 512);
}

TEST_CASE("writes: immediate data, unsolicited data, R2T") {
    Site site;
    const auto data = pattern(16384);
    const auto piece = [&](size_t from, size_t size) { return std::span<const u8>(data).subspan(from, size); };
    Ended result;
    SUBCASE("all immediate") {
        const auto initiator = ready(site);
        initiator->send(initiator->command(Initiator::write_10(8, 32), 0xA1, 16384), data);
        CHECK(result_of(*initiator).status == 0);
        CHECK(read_all(*initiator, 8, 32) == data);
    }
    SUBCASE("all by R2T, in bursts") {
        const auto initiator =
            ready(site, {{"ImmediateData", "No"}, {"MaxBurstLength", "4096"}, {"MaxOutstandingR2T", "2"}});
        const Header command = initiator->command(Initiator::write_10(8, 32), 0xA1, 16384);
        initiator->send(command);
        u32 asked = 0;
        std::deque<Received> wanted;
        while (true) {
            while (auto pdu = initiator->next()) wanted.push_back(*pdu);
            REQUIRE_FALSE(wanted.empty());
            if (!wanted.front().is(Opcode::ready_to_transfer)) break;
            if (asked < 2) CHECK(wanted.size() == 2);
            const Header r2t = wanted.front().header;
            wanted.pop_front();
            const u32 offset = r2t.get<u32>(40), length = r2t.get<u32>(44);
            CHECK(r2t.get<u32>(36) == asked);
            CHECK(offset == asked++ * 4096);
            CHECK(length == 4096);
            initiator->send(initiator->data_out(command, r2t.target_tag(), 0, offset, false), piece(offset, 1000));
            initiator->send(initiator->data_out(command, r2t.target_tag(), 1, offset + 1000, true),
                            piece(offset + 1000, 3096));
        }
        CHECK(asked == 4);
        CHECK(wanted.front().header.byte(3) == 0);
        CHECK(read_all(*initiator, 8, 32) == data);
    }
    SUBCASE("some of each") {
        const auto initiator = ready(site, {{"InitialR2T", "No"}, {"FirstBurstLength", "8192"}});
        const Header command = initiator->command(Initiator::write_10(8, 32), 0x21, 16384);
        initiator->send(command, piece(0, 2048));
        CHECK_FALSE(initiator->next());
        initiator->send(initiator->data_out(command, kNoTag, 0, 2048, false), piece(2048, 2048));
        initiator->send(initiator->data_out(command, kNoTag, 1, 4096, true), piece(4096, 4096));
        const auto r2t = initiator->next();
        REQUIRE(r2t);
        CHECK(r2t->header.get<u32>(40) == 8192);
        CHECK(r2t->header.get<u32>(44) == 8192);
        initiator->send(initiator->data_out(command, r2t->header.target_tag(), 0, 8192, true), piece(8192, 8192));
        CHECK(result_of(*initiator).status == 0);
        CHECK(read_all(*initiator, 8, 32) == data);
    }
    SUBCASE("fewer bytes than the command wants: whole blocks are written") {
        const auto initiator = ready(site);
        initiator->send(initiator->command(Initiator::write_10(8, 32), 0xA1, 1000), piece(0, 1000));
        result = result_of(*initiator);
        CHECK(result.status == 0);
        CHECK(result.flags == 0x04);
        CHECK(result.residual == 16384 - 1000);
        CHECK(read_all(*initiator, 8, 1) == std::vector<u8>(data.begin(), data.begin() + 512));
        CHECK(read_all(*initiator, 9, 1) == std::vector<u8>(512));
    }
    SUBCASE("more bytes than the command wants") {
        const auto initiator = ready(site);
        initiator->send(initiator->command(Initiator::write_10(8, 1), 0xA1, 16384), data);
        result = result_of(*initiator);
        CHECK(result.status == 0);
        CHECK(result.flags == 0x02);
        CHECK(result.residual == 16384 - 512);
    }
    SUBCASE("larger than any piece") {
        const auto initiator = ready(site);
        const auto much = pattern(768 * 1024);
        const Header command = initiator->command(Initiator::write_10(0, 1536), 0xA1, 768 * 1024);
        initiator->send(command);
        u32 offset = 0;
        while (auto pdu = initiator->next()) {
            if (!pdu->is(Opcode::ready_to_transfer)) break;
            const u32 length = pdu->header.get<u32>(44);
            CHECK(pdu->header.get<u32>(40) == offset);
            initiator->send(initiator->data_out(command, pdu->header.target_tag(), 0, offset, true),
                            std::span<const u8>(much).subspan(offset, length));
            offset += length;
        }
        CHECK(offset == much.size());
        CHECK(read_all(*initiator, 0, 1536) == much);
        CHECK(site.service.sessions().at(0).writes == 1);
        CHECK(site.service.sessions().at(0).written_bytes == much.size());
    }
}

TEST_CASE("data that nobody asked for fails its command, and only that") {
    Site site;
    const auto initiator = ready(site, {{"ImmediateData", "No"}});
    Header command = initiator->command(Initiator::write_10(0, 2), 0xA1, 1024);
    const std::vector<u8> data(1024, 9);
    SUBCASE("immediate") {
        initiator->send(command, data);
    }
    SUBCASE("unsolicited") {
        initiator->send(command);
        REQUIRE(initiator->next());
        initiator->send(initiator->data_out(command, kNoTag, 0, 0, true), data);
        initiator->send(initiator->data_out(command, 0, 0, 0, true), data);
    }
    SUBCASE("at the wrong place") {
        initiator->send(command);
        REQUIRE(initiator->next());
        initiator->send(initiator->data_out(command, 0, 0, 512, true), data);
    }
    SUBCASE("out of turn") {
        initiator->send(command);
        REQUIRE(initiator->next());
        initiator->send(initiator->data_out(command, 0, 1, 0, true), data);
    }
    SUBCASE("too little") {
        initiator->send(command);
        REQUIRE(initiator->next());
        initiator->send(initiator->data_out(command, 0, 0, 0, true), std::span(data).first(512));
    }
    SUBCASE("too much") {
        initiator->send(command);
        REQUIRE(initiator->next());
        initiator->send(initiator->data_out(command, 0, 0, 0, true), std::vector<u8>(2048));
    }
    const Ended result = result_of(*initiator);
    CHECK(result.status == 2);
    CHECK(result.sense.at(2) == 0x0B);
    CHECK(result.sense.at(12) == 0x0C);
    CHECK(read_all(*initiator, 0, 2) == std::vector<u8>(1024));
}

TEST_CASE("commands run in the order of CmdSN, and only inside the window") {
    Site site;
    const auto initiator = ready(site, {{"MaxConnections", "2"}});
    initiator->reads = false;
    const Header first = initiator->command({0x00, 0, 0, 0, 0, 0}, 0x81, 0);
    const Header second = initiator->command({0x00, 0, 0, 0, 0, 0}, 0x81, 0);
    Header far = initiator->command({0x00, 0, 0, 0, 0, 0}, 0x81, 0);
    far.set(24, initiator->command_sn + 1000);
    initiator->send(second);
    initiator->send(far);
    CHECK_FALSE(initiator->next());
    SUBCASE("on one connection") {
        initiator->send(first);
    }
    SUBCASE("on two") {
        Initiator other(site);
        other.tsih = initiator->tsih;
        other.cid = 1;
        REQUIRE(other.log_in());
        other.send(first);
        CHECK(other.next()->header.initiator_tag() == first.initiator_tag());
        CHECK(initiator->next()->header.initiator_tag() == second.initiator_tag());
        return;
    }
    CHECK(initiator->next()->header.initiator_tag() == first.initiator_tag());
    CHECK(initiator->next()->header.initiator_tag() == second.initiator_tag());
    CHECK_FALSE(initiator->next());
    initiator->send(first);  // once more
    CHECK_FALSE(initiator->next());
}

TEST_CASE("the window narrows with what is under way, and never goes back") {
    Site site;
    const auto initiator = ready(site, {{"ImmediateData", "No"}});
    const u32 limit = site.service.options().limits.commands;
    u32 most = 0;
    std::vector<Header> commands;
    for (u32 i = 0; i < limit; ++i) {
        commands.push_back(initiator->command(Initiator::write_10(i, 1), 0xA1, 512));
        initiator->send(commands.back());
        const auto r2t = initiator->next();
        REQUIRE(r2t);
        most = r2t->header.get<u32>(32);
        CHECK(r2t->header.get<u32>(28) == initiator->command_sn);
    }
    CHECK(most == initiator->command_sn - 1);
    initiator->send(initiator->command({0}, 0x81, 0));
    CHECK_FALSE(initiator->next());
    --initiator->command_sn;
    initiator->send(initiator->data_out(commands[0], 0, 0, 0, true), std::vector<u8>(512));
    const auto done = initiator->next();
    REQUIRE(done);
    CHECK(done->header.get<u32>(32) == initiator->command_sn);
}

TEST_CASE("task management") {
    Site site;
    const auto initiator = ready(site, {{"ImmediateData", "No"}});
    const Header command = initiator->command(Initiator::write_10(0, 1), 0xA1, 512);
    initiator->send(command);
    REQUIRE(initiator->next()->is(Opcode::ready_to_transfer));
    const auto answer_to = [&](u8 function, u32 tag = kNoTag, u64 lun = 0) {
        Header header = management(*initiator, function, tag);
        header.set(8, lun);
        initiator->send(header);
        const auto answer = initiator->next();
        REQUIRE(answer);
        CHECK(answer->is(Opcode::task_management_response));
        CHECK(answer->header.initiator_tag() == header.initiator_tag());
        return int{answer->header.byte(2)};
    };
    bool survives = false;
    SUBCASE("ABORT TASK") {
        CHECK(answer_to(1, command.initiator_tag()) == 0);
    }
    SUBCASE("ABORT TASK of another") {
        CHECK(answer_to(1, 12345) == 1);
        survives = true;
    }
    SUBCASE("ABORT TASK SET") {
        CHECK(answer_to(2) == 0);
    }
    SUBCASE("of a unit that is not there") {
        CHECK(answer_to(2, kNoTag, u64{5} << 48) == 2);
        survives = true;
    }
    SUBCASE("CLEAR ACA") {
        CHECK(answer_to(3) == 5);
        survives = true;
    }
    SUBCASE("CLEAR TASK SET") {
        CHECK(answer_to(4) == 0);
    }
    SUBCASE("LOGICAL UNIT RESET") {
        CHECK(answer_to(5) == 0);
    }
    SUBCASE("TARGET WARM RESET") {
        CHECK(answer_to(6) == 0);
    }
    SUBCASE("TARGET COLD RESET") {
        CHECK(answer_to(7) == 0);
        CHECK(site.service.sessions().empty());
        CHECK(initiator->connection()->ending());
        return;
    }
    SUBCASE("TASK REASSIGN") {
        CHECK(answer_to(8, command.initiator_tag()) == 4);
        survives = true;
    }
    // Data for what has gone is no harm.
    initiator->send(initiator->data_out(command, 0, 0, 0, true), std::vector<u8>(512));
    CHECK(initiator->next().has_value() == survives);
    initiator->send(initiator->command({0x00, 0, 0, 0, 0, 0}, 0x81, 0));
    CHECK(initiator->next()->is(Opcode::scsi_response));
}

TEST_CASE("an abort that overtakes its command") {
    Site site;
    const auto initiator = ready(site);
    const Header lost = initiator->command(Initiator::write_10(0, 1), 0xA1, 512);
    const Header behind = initiator->command({0x00, 0, 0, 0, 0, 0}, 0x81, 0);
    initiator->send(behind);
    CHECK_FALSE(initiator->next());
    Header header = management(*initiator, 1, lost.initiator_tag());
    header.set(32, lost.command_sn());
    initiator->send(header);
    CHECK(initiator->next()->header.byte(2) == 0);
    CHECK(initiator->next()->header.initiator_tag() == behind.initiator_tag());
    initiator->send(lost);
    CHECK_FALSE(initiator->next());
}

TEST_CASE("NOP in both directions") {
    Site site;
    const auto initiator = ready(site);
    const std::vector<u8> data{1, 2, 3};
    const Header ping = initiator->request(Opcode::nop_out, 0x80, true);
    initiator->send(ping, data);
    const auto pong = initiator->next();
    REQUIRE(pong);
    CHECK(pong->is(Opcode::nop_in));
    CHECK(pong->data == data);
    CHECK(pong->header.initiator_tag() == ping.initiator_tag());
    // It answers NOPs, so it is asked for a sign of life.
    site.service.tick(29'999);
    CHECK_FALSE(initiator->next());
    site.service.tick(30'000);
    const auto question = initiator->next();
    REQUIRE(question);
    CHECK(question->is(Opcode::nop_in));
    CHECK(question->header.initiator_tag() == kNoTag);
    CHECK(question->header.target_tag() != kNoTag);
    SUBCASE("answered") {
        site.service.set_now(40'000);
        Header answer(Opcode::nop_out);
        answer.set(0, u8{0x40});
        answer.set_initiator_tag(kNoTag);
        answer.set_target_tag(question->header.target_tag());
        answer.set(24, initiator->command_sn);
        initiator->send(answer);
        site.service.tick(69'999);
        CHECK_FALSE(initiator->connection()->ending());
    }
    SUBCASE("not answered") {
        site.service.tick(60'000);
        CHECK(initiator->connection()->dead());
    }
}

TEST_CASE("firmware is not asked for a sign of life") {
    Site site;
    const auto initiator = ready(site);
    site.service.tick(10'000'000);
    CHECK_FALSE(initiator->next());
    CHECK_FALSE(initiator->connection()->ending());
}

TEST_CASE("logout") {
    Site site;
    const auto initiator = ready(site, {{"MaxConnections", "2"}});
    const auto log_out = [&](u8 reason, u16 cid) {
        Header header = initiator->request(Opcode::logout, static_cast<u8>(0x80 | reason), true);
        header.set_target_tag(u32{cid} << 16);
        initiator->send(header);
        const auto answer = initiator->next();
        REQUIRE(answer);
        CHECK(answer->is(Opcode::logout_response));
        return int{answer->header.byte(2)};
    };
    SUBCASE("the session") {
        CHECK(log_out(0, 0) == 0);
        CHECK(site.service.sessions().empty());
        CHECK(initiator->connection()->ending());
    }
    SUBCASE("its only connection") {
        CHECK(log_out(1, 0) == 0);
        CHECK(site.service.sessions().empty());
    }
    SUBCASE("another connection") {
        Initiator second(site);
        second.tsih = initiator->tsih;
        second.cid = 9;
        REQUIRE(second.log_in());
        CHECK(log_out(1, 5) == 1);
        CHECK(log_out(1, 9) == 0);
        CHECK(second.connection()->ending());
        CHECK(site.service.sessions().at(0).connections == 1);
    }
    SUBCASE("for recovery") {
        CHECK(log_out(2, 0) == 2);
        CHECK(site.service.sessions().size() == 1);
    }
}

TEST_CASE("initiators are asked to log out, and dropped if they do not") {
    Site site;
    const auto initiator = ready(site);
    const u64 id = site.service.sessions().at(0).id;
    CHECK_FALSE(site.service.disconnect(id + 1, 10));
    CHECK(site.service.disconnect(id, 10));
    const auto message = initiator->next();
    REQUIRE(message);
    CHECK(message->is(Opcode::asynchronous_message));
    CHECK(message->header.byte(36) == 1);
    CHECK(message->header.get<u16>(42) == 10);
    site.service.tick(9'999);
    CHECK_FALSE(initiator->connection()->dead());
    site.service.tick(10'000);
    CHECK(initiator->connection()->dead());
}

TEST_CASE("digests") {
    Site site;
    const auto initiator = ready(site, {{"HeaderDigest", "CRC32C"}, {"DataDigest", "CRC32C"}});
    const auto data = pattern(1024);
    initiator->send(initiator->command(Initiator::write_10(3, 2), 0xA1, 1024), data);
    CHECK(result_of(*initiator).status == 0);
    CHECK(read_all(*initiator, 3, 2) == data);
    SUBCASE("a damaged header ends the connection") {
        initiator->damage = [](std::vector<u8>& bytes) { bytes[20] ^= 1; };
        initiator->send(initiator->command(Initiator::write_10(3, 2), 0xA1, 1024), data);
        CHECK(initiator->connection()->ending());
    }
    SUBCASE("so does damaged data in a command") {
        initiator->damage = [](std::vector<u8>& bytes) { bytes[100] ^= 1; };
        initiator->send(initiator->command(Initiator::write_10(3, 2), 0xA1, 1024), std::vector<u8>(1024));
        CHECK(initiator->next()->is(Opcode::reject));
        CHECK(initiator->connection()->ending());
    }
    SUBCASE("in Data-Out it fails the command") {
        const Header command = initiator->command(Initiator::write_10(3, 2), 0xA1, 1024);
        initiator->send(command);
        CHECK(initiator->next()->is(Opcode::ready_to_transfer));
        initiator->damage = [](std::vector<u8>& bytes) { bytes[100] ^= 1; };
        initiator->send(initiator->data_out(command, 0, 0, 0, true), std::vector<u8>(1024));
        initiator->damage = {};
        CHECK(initiator->next()->is(Opcode::reject));
        const Ended result = result_of(*initiator);
        CHECK(result.status == 2);
        CHECK(result.sense.at(12) == 0x47);
        CHECK(read_all(*initiator, 3, 2) == data);
    }
}

TEST_CASE("an initiator that does not read is not read from, and what it holds is bounded") {
    TargetOptions options;
    options.limits.queued_bytes = 64 * 1024;
    options.limits.session_bytes = 64 * 1024;
    Site site(options);
    const auto initiator = ready(site);
    initiator->reads = false;
    const u32 count = site.service.options().limits.commands;
    for (u32 i = 0; i < count; ++i) initiator->send(initiator->command(Initiator::read_10(0, 64), 0xC1, 32768));
    CHECK_FALSE(initiator->connection()->wants_input());
    CHECK(initiator->connection()->output().bytes() < 128 * 1024);
    initiator->reads = true;
    u32 done = 0;
    while (auto pdu = initiator->next()) done += pdu->is(Opcode::data_in) && (pdu->header.flags() & 1);
    CHECK(done == count);
    CHECK(initiator->connection()->wants_input());
}

TEST_CASE("a session that is lost ends its commands, also those on the disk's worker") {
    Site site;
    site.disk = site.directory.disk = TrialDisk::in_memory(kMiB, false);
    auto initiator = std::make_unique<Initiator>(site);
    REQUIRE(initiator->log_in());
    initiator->reads = false;
    for (u32 i = 0; i < 8; ++i) initiator->send(initiator->command(Initiator::read_10(0, 64), 0xC1, 32768));
    initiator->lose();
    for (int i = 0; i < 1000 && !site.service.quiet(); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        site.settle();
    }
    CHECK(site.service.quiet());
}

TEST_CASE("requests that nobody knows are rejected") {
    Site site;
    const auto initiator = ready(site);
    initiator->send(initiator->request(Opcode::snack, 0x80, true));
    CHECK(initiator->next()->header.byte(2) == 5);
    Header twice = initiator->command(Initiator::write_10(0, 1), 0xA1, 512);
    initiator->send(twice);
    CHECK(initiator->next()->is(Opcode::ready_to_transfer));
    twice.set(24, initiator->command_sn);
    initiator->send(twice);
    CHECK(initiator->next()->header.byte(2) == 7);
    Header aca = initiator->command({0x00, 0, 0, 0, 0, 0}, 0x84, 0);
    initiator->command_sn++;
    initiator->send(aca);
    const Ended result = result_of(*initiator);
    CHECK(result.status == 2);
    CHECK(result.sense.at(12) == 0x49);
}

TEST_CASE("other units are not there") {
    Site site;
    const auto initiator = ready(site);
    Header inquiry = initiator->command({0x12, 0, 0, 0, 36, 0}, 0xC1, 36);
    inquiry.set(8, u64{1} << 48);
    initiator->send(inquiry);
    CHECK(result_of(*initiator).data.at(0) == 0x7F);
    Header test = initiator->command({0x00, 0, 0, 0, 0, 0}, 0x81, 0);
    test.set(8, u64{1} << 48);
    initiator->send(test);
    CHECK(result_of(*initiator).sense.at(12) == 0x25);
    initiator->send(initiator->command({0xA0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0}, 0xC1, 64));
    CHECK(result_of(*initiator).data == std::vector<u8>{0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
}
