// Initiators that do anything: logins with and without CHAP, commands with any fields, data that nobody asked for,
// connections that break in between, disks that answer when they like. Nothing may crash, nor grow without bound, and
// when all have gone nothing may be left.
//
// The input is a list of acts: a byte that says which, then what it needs. Requests are built from templates, so that
// the fuzzer gets past the login, and may have any of their bytes changed; some acts send bytes as they are.
#include <cstdlib>
#include <deque>

#include "disks/iscsi/service.h"
#include "disks/iscsi/text_keys.h"

using namespace lodge;
using namespace lodge::iscsi;

namespace {

class Input {
  public:
    Input(const u8* data, size_t size) : rest_(data, size) {}
    bool empty() const { return rest_.empty(); }
    u8 byte() {
        if (rest_.empty()) return 0;
        const u8 value = rest_[0];
        rest_ = rest_.subspan(1);
        return value;
    }
    u32 number() { return u32{byte()} << 24 | u32{byte()} << 16 | u32{byte()} << 8 | byte(); }
    std::span<const u8> bytes(size_t most) {
        const auto taken = rest_.first(std::min(most, rest_.size()));
        rest_ = rest_.subspan(taken.size());
        return taken;
    }

  private:
    std::span<const u8> rest_;
};

constexpr u64 kDiskBytes = 2 * kMiB;

// Does its work when it is told to.
class LateDisk final : public Disk {
  public:
    u64 bytes() const override { return kDiskBytes; }
    bool read_only() const override { return false; }
    scsi::UnitIdentity identity() const override { return {.product = "FUZZ", .serial = "1"}; }
    std::optional<scsi::MediumResult> try_now(const scsi::MediumRequest& request, std::vector<u8>& data) override {
        if (request.operation == scsi::MediumOperation::write && data.size() != request.length) std::abort();
        if (late) return std::nullopt;
        return answer(request);
    }
    void submit(const scsi::MediumRequest& request, std::vector<u8>, Done done) override {
        waiting.push_back({request, std::move(done)});
    }
    void finish_one() {
        if (waiting.empty()) return;
        auto [request, done] = std::move(waiting.front());
        waiting.pop_front();
        done(answer(request));
    }

    bool late = false, fails = false;
    std::deque<std::pair<scsi::MediumRequest, Done>> waiting;

  private:
    scsi::MediumResult answer(const scsi::MediumRequest& request) const {
        scsi::MediumResult result;
        if (request.offset > kDiskBytes || request.length > kDiskBytes - request.offset) std::abort();
        if (fails) return {.status = scsi::MediumStatus::failed};
        if (request.operation == scsi::MediumOperation::read) result.data.resize(request.length);
        if (request.operation == scsi::MediumOperation::extent) result.extent_length = kDiskBytes - request.offset;
        return result;
    }
};

class Hold final : public Attachment {
  public:
    explicit Hold(std::shared_ptr<Disk> disk) : disk_(std::move(disk)) {}
    std::shared_ptr<Disk> disk() override { return disk_; }

  private:
    std::shared_ptr<Disk> disk_;
};

class OneDisk final : public Directory {
  public:
    Answer<Authentication> authentication(const Caller&, const std::string& target) override {
        Authentication proof;
        if (target == "safe") proof = {{{"a", "secret"}}, ChapIdentity{"b", "another"}};
        return {proof, {}};
    }
    std::vector<std::string> targets(const Caller&) override {
        return std::vector<std::string>(many ? 400 : 1, "disk");
    }
    Answer<std::unique_ptr<Attachment>> attach(const Caller&, const std::string&) override {
        return {std::make_unique<Hold>(disk), {}};
    }
    std::shared_ptr<LateDisk> disk = std::make_shared<LateDisk>();
    bool many = false;
};

class Play {
  public:
    explicit Play(Input& input)
        : input_(input), service_(options(), directory_, nullptr, log_, {fill, [] { return i64{0}; }}) {
        peers_.resize(3);
        tags_.fill(kNoTag);
    }
    ~Play() {
        for (u32 i = 0; i < peers_.size(); ++i) close(i);
        directory_.disk->late = false;
        while (!directory_.disk->waiting.empty()) {
            directory_.disk->finish_one();
            settle();
        }
        settle();
        if (!service_.quiet() || service_.connections() || service_.logins()) std::abort();
    }
    void act();

  private:
    struct Peer {
        u64 connection = 0;
        u32 command_sn = 1;
        u16 tsih = 0;
        bool reads = true;
    };

    static TargetOptions options() {
        TargetOptions options;
        options.limits.commands = 8;
        options.limits.queued_bytes = 64 * 1024;
        options.limits.session_bytes = 64 * 1024;
        options.limits.receive_bytes = 16 * 1024;
        return options;
    }
    static void fill(std::span<u8> bytes) { std::fill(bytes.begin(), bytes.end(), u8{7}); }

    void settle() {
        for (int i = 0; i < 4096 && !service_.work(); ++i) continue;
        for (const u64 id : service_.take_touched())
            if (Connection* connection = service_.find_connection(id)) connection->attended();
        for (u32 i = 0; i < peers_.size(); ++i) {
            Connection* connection = service_.find_connection(peers_[i].connection);
            if (!connection) continue;
            if (connection->output().bytes() > 2 * kMiB) std::abort();
            if (connection->dead() || (connection->ending() && connection->output().empty())) close(i);
        }
    }
    void close(u32 index) {
        if (Connection* connection = service_.find_connection(peers_[index].connection))
            service_.close(*connection, "gone");
        peers_[index] = {};
    }
    // Remembers what the target names, so that the input can refer to it.
    void look_at(std::span<const u8> bytes, Peer& peer) {
        if (bytes.size() != kHeaderBytes) return;
        const Header header(bytes);
        if (header.opcode() == Opcode::login_response && header.get<u16>(14)) peer.tsih = header.get<u16>(14);
        if (header.opcode() == Opcode::ready_to_transfer || header.opcode() == Opcode::text_response) {
            tags_[next_tag_++ % tags_.size()] = header.target_tag();
            wanted_ = header;
        }
    }
    void take_output(Peer& peer) {
        Connection* connection = service_.find_connection(peer.connection);
        if (!connection || !peer.reads) return;
        iovec pieces[16];
        const size_t count = connection->output().gather(pieces);
        size_t bytes = 0;
        for (size_t i = 0; i < count; ++i) {
            look_at({static_cast<const u8*>(pieces[i].iov_base), pieces[i].iov_len}, peer);
            bytes += pieces[i].iov_len;
        }
        connection->output().sent(bytes);
        connection->sent();
    }
    void send_bytes(Peer& peer, std::span<const u8> bytes) {
        Connection* connection = service_.find_connection(peer.connection);
        if (!connection || !connection->wants_input()) return;
        connection->input().arrived(bytes);
        connection->serve();
    }
    void send(Peer& peer, Header header, std::span<const u8> data) {
        const u8 change = input_.byte();
        if (change & 1) header.set(input_.byte() % kHeaderBytes, input_.byte());
        header.set_data_bytes(static_cast<u32>(data.size()));
        std::vector<u8> bytes(header.bytes().begin(), header.bytes().end());
        bytes.resize(bytes.size() + header.additional_bytes());
        bytes.insert(bytes.end(), data.begin(), data.end());
        bytes.resize(align_up(bytes.size(), 4));
        send_bytes(peer, bytes);
    }
    Header request(Peer& peer, Opcode opcode, u8 flags) {
        const u8 how = input_.byte();
        Header header(opcode, flags);
        if (how & 0x80) header.set(0, static_cast<u8>(static_cast<u8>(opcode) | 0x40));
        header.set_initiator_tag(how & 0x0F);
        header.set_target_tag(how & 0x40 ? tags_[how % tags_.size()] : kNoTag);
        header.set(24, how & 0x80 ? peer.command_sn : peer.command_sn++);
        return header;
    }
    void log_in(Peer& peer);
    void command(Peer& peer);
    void data_out(Peer& peer);

    Input& input_;
    Log log_;
    OneDisk directory_;
    Service service_;
    std::vector<Peer> peers_;
    std::array<u32, 4> tags_{};
    u32 next_tag_ = 0;
    Header wanted_;
    u64 now_ = 0;
};

void Play::log_in(Peer& peer) {
    const u8 how = input_.byte();
    if (!service_.find_connection(peer.connection)) {
        const u16 tsih = peer.tsih;
        peer = {.connection = service_.open("a:1", "b:2").id()};
        if (how & 0x40) peer.tsih = tsih;
    }
    std::vector<u8> text;
    if (how & 0x01) append_text(text, "InitiatorName", how & 0x80 ? "x" : "y");
    if (how & 0x02) append_text(text, "TargetName", how & 0x20 ? "safe" : "disk");
    if (how & 0x10) append_text(text, "SessionType", "Discovery");
    if (how & 0x04) append_text(text, "InitialR2T", "No");
    if (how & 0x08) append_text(text, "MaxConnections", "3");
    const auto more = input_.bytes(input_.byte());
    text.insert(text.end(), more.begin(), more.end());
    Header header(Opcode::login, input_.byte());
    header.set(0, u8{0x43});
    header.set(14, peer.tsih);
    header.set(20, static_cast<u16>(&peer - peers_.data()));
    header.set(24, peer.command_sn);
    send(peer, header, text);
}

void Play::command(Peer& peer) {
    constexpr u8 kCodes[] = {0x28, 0x2A, 0x12, 0x88, 0x8A, 0x89, 0x8B, 0x93,
                             0x42, 0x2F, 0x35, 0x5E, 0x5F, 0x1A, 0x15, 0xA0};
    Header header = request(peer, Opcode::scsi_command, input_.byte());
    const u8 code = input_.byte();
    header.set(20, input_.number() & 0x3'FFFF);
    for (size_t i = 1; i < 16; ++i) header.set(32 + i, u8{0});
    header.set(32, code < 0xF0 ? kCodes[code % std::size(kCodes)] : input_.byte());
    header.set(34, input_.number() & 0xFFF);
    header.set(39, static_cast<u16>(input_.byte()));
    if (code & 0x10)
        for (size_t i = 1; i < 16; ++i) header.set(32 + i, input_.byte());
    send(peer, header, input_.bytes(input_.byte()));
}

void Play::data_out(Peer& peer) {
    const u8 how = input_.byte();
    Header header(Opcode::data_out, how & 0x80);
    header.set_initiator_tag(how & 0x40 ? wanted_.initiator_tag() : how & 0x0F);
    header.set_target_tag(how & 0x20 ? wanted_.target_tag() : kNoTag);
    header.set(36, u32{input_.byte()});
    header.set(40, how & 0x10 ? wanted_.get<u32>(40) : input_.number() & 0xFFFF);
    const size_t size = how & 0x10 ? std::min<u32>(wanted_.get<u32>(44), 16384) : input_.number() & 0x3FFF;
    send(peer, header, std::vector<u8>(size, how));
}

void Play::act() {
    const u8 what = input_.byte();
    Peer& peer = peers_[(what >> 4) % peers_.size()];
    switch (what & 0x0F) {
        case 0:
        case 1:
            log_in(peer);
            break;
        case 2:
        case 3:
            command(peer);
            break;
        case 4:
            data_out(peer);
            break;
        case 5:
            send(peer, request(peer, Opcode::task_management, static_cast<u8>(0x80 | (input_.byte() % 10))), {});
            break;
        case 6:
            send(peer, request(peer, Opcode::text, input_.byte()), input_.bytes(input_.byte()));
            break;
        case 7:
            send(peer, request(peer, Opcode::nop_out, 0x80), input_.bytes(input_.byte()));
            break;
        case 8:
            send(peer, request(peer, Opcode::logout, static_cast<u8>(0x80 | (input_.byte() % 4))), {});
            break;
        case 9:
            send_bytes(peer, input_.bytes(input_.byte()));
            break;
        case 10:
            close(static_cast<u32>(&peer - peers_.data()));
            break;
        case 11:
            directory_.disk->late = input_.byte() & 1;
            directory_.disk->fails = input_.byte() & 1;
            directory_.many = input_.byte() & 1;
            break;
        case 12:
            directory_.disk->finish_one();
            break;
        case 13:
            peer.reads = !peer.reads;
            break;
        case 14:
            service_.tick(now_ += u64{input_.byte()} * 100);
            break;
        default:
            for (const SessionInfo& session : service_.sessions()) service_.disconnect(session.id, input_.byte());
            service_.drop_sessions([&](const SessionInfo&) { return input_.byte() & 1; }, "dropped");
    }
    settle();
    for (Peer& other : peers_) take_output(other);
    settle();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    Input input(data, size);
    Play play(input);
    while (!input.empty()) play.act();
    return 0;
}
