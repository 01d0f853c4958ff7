// The drivers of networks, the frame stream, segments, the user network and captures: against a card that only counts.
#include "net/network.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "devices/ethernet.h"
#include "net/capture.h"
#include "net/frame_stream.h"
#include "net/socket_network.h"
#include "net/stepped_network.h"
#include "net/tap_network.h"
#include "net/threaded_network.h"
#include "net/user_network.h"
#include "tests/fuzz/device_harness.h"

namespace lodge {
namespace {

constexpr auto kPatience = std::chrono::seconds(20);

std::vector<u8> frame_of(size_t size, u8 fill) {
    return std::vector<u8>(size, fill);
}

// Stands for a card on a board of its own: takes frames from its input source, at once unless told otherwise.
struct Card : test::TestBoard {
    InputQueue::SourceId source = inputs.add_source("card", [this](std::span<const u8> payload) { take(payload); });
    Network* network = nullptr;
    bool taking = true;
    std::vector<std::vector<u8>> frames;
    std::vector<bool> cable;
    size_t untaken = 0;

    void plug(Network& into) {
        network = &into;
        into.connect(inputs, source, scheduler);
    }
    void take(std::span<const u8> payload) {
        if (payload[0] == NetworkPort::kInputCable) return cable.push_back(payload[1] != 0);
        for (payload = payload.subspan(1); !payload.empty();) {
            const size_t length = load<u16>(payload.data());
            frames.emplace_back(payload.begin() + 2, payload.begin() + 2 + static_cast<long>(length));
            untaken += length;
            payload = payload.subspan(2 + length);
        }
        if (taking) network->taken(std::exchange(untaken, 0));
    }
    // On the realtime clock: until `done`, or patience ends.
    template <class Done>
    bool until(Done done) {
        const auto end = std::chrono::steady_clock::now() + kPatience;
        while (!done() && std::chrono::steady_clock::now() < end) {
            inputs.wait(1'000'000);
            inputs.apply_all(0);
        }
        return done();
    }
};

// A backend that answers every frame with `answers` copies.
class Echo final : public NetworkBackend {
  public:
    explicit Echo(size_t answers) : answers_(answers) {}
    void start(const NetworkHost& host) override { host_ = host; }
    void from_guest(std::span<const u8> frame) override {
        for (size_t i = 0; i < answers_; ++i) host_.deliver(frame);
    }
    int prepare(std::vector<pollfd>&) override { return -1; }
    void ready(std::span<const pollfd>) override {}
    bool has_peers() const override { return false; }

  private:
    size_t answers_;
    NetworkHost host_;
};

struct Folder {
    std::filesystem::path path = std::filesystem::temp_directory_path() / ("lodge-network-" + std::to_string(getpid()));
    Folder() { std::filesystem::create_directory(path); }
    ~Folder() { std::filesystem::remove_all(path); }
    std::string operator/(const char* name) const { return (path / name).string(); }
};

TEST_CASE("frames in a stream come out as they went in, however it is cut") {
    std::vector<u8> stream;
    for (size_t size : {0, 1, 60, 1514, 65535}) append_frame(stream, frame_of(size, static_cast<u8>(size)));
    for (size_t cut : {1, 3, 7, 1000, 100000}) {
        FrameReader reader;
        std::vector<size_t> sizes;
        for (std::span<const u8> left = stream; !left.empty();) {
            const auto part = left.first(std::min(cut, left.size()));
            CHECK(reader.feed(part, [&](std::span<const u8> frame) { sizes.push_back(frame.size()); }));
            left = left.subspan(part.size());
        }
        CHECK(sizes == std::vector<size_t>{0, 1, 60, 1514, 65535});
    }
    FrameReader reader;
    const std::vector<u8> nonsense(4, 0x7F);
    CHECK(!reader.feed(nonsense, [](std::span<const u8>) {}));
}

TEST_CASE("a network on its thread: both ways, and no more than there is room for") {
    Card card;
    ThreadedNetwork network(std::make_unique<Echo>(1000));
    card.plug(network);
    network.send(frame_of(100, 1));
    CHECK(card.until([&] { return card.frames.size() == 1000; }));
    // A guest that takes nothing: what is under way and what waits are bounded.
    card.taking = false;
    card.frames.clear();
    for (int i = 0; i < 3; ++i) network.send(frame_of(1500, 2));
    const size_t most = (CardFeed::kMostUnderWay + 1499) / 1500;
    CHECK(card.until([&] { return card.frames.size() >= most; }));
    CHECK(card.frames.size() == most);
    // It takes them: the rest comes.
    card.taking = true;
    network.taken(std::exchange(card.untaken, 0));
    const size_t waited = CardFeed::kMostWaiting / 1500;
    CHECK(card.until([&] { return card.frames.size() >= most + waited; }));
    CHECK(card.frames.size() == most + waited);
    network.disconnect();
    network.send(frame_of(100, 3));
}

TEST_CASE("a network on the CPU thread answers at once, and keeps the rest") {
    Card card;
    SteppedNetwork network(std::make_unique<Echo>(200));
    card.plug(network);
    network.send(frame_of(1500, 1));
    CHECK(card.frames.empty());
    card.inputs.apply_all(0);
    while (!card.inputs.empty()) card.inputs.apply_all(0);
    CHECK(card.frames.size() == 200);
    CHECK(card.scheduler.next() == kNever);
}

TEST_CASE("frames that no card would take are dropped") {
    Card card;
    SteppedNetwork network(std::make_unique<Echo>(1));
    card.plug(network);
    for (size_t size : {size_t{0}, size_t{13}, NetworkPort::kMostFrame + 1}) network.send(frame_of(size, 1));
    CHECK(card.inputs.empty());
    network.send(frame_of(NetworkPort::kMostFrame, 1));
    CHECK(!card.inputs.empty());
}

TEST_CASE("a segment of three: a hub, members, and another hub when it goes") {
    Folder folder;
    Log log;
    const std::string path = folder / "segment";
    std::vector<std::unique_ptr<Network>> networks;
    std::array<Card, 3> cards;
    for (Card& card : cards) {
        auto backend = join_socket_network(path, log);
        REQUIRE(backend);
        networks.push_back(make_network(std::move(*backend), ClockMode::realtime));
        card.plug(*networks.back());
    }
    const auto all_hear = [&](size_t from, u8 fill) {
        const auto end = std::chrono::steady_clock::now() + kPatience;
        for (size_t i = 0; i < cards.size(); ++i) cards[i].frames.clear();
        // Who has just connected may not have been accepted yet.
        for (bool all = false; !all && std::chrono::steady_clock::now() < end;) {
            networks[from]->send(frame_of(60, fill));
            all = true;
            for (size_t i = 0; i < cards.size(); ++i) {
                if (i == from || !networks[i]) continue;
                cards[i].inputs.wait(50'000'000);
                cards[i].inputs.apply_all(0);
                all = all && !cards[i].frames.empty() && cards[i].frames.back() == frame_of(60, fill);
            }
        }
        for (size_t i = 0; i < cards.size(); ++i)
            if (i != from && networks[i]) CHECK(!cards[i].frames.empty());
        CHECK(cards[from].frames.empty());
    };
    for (size_t from = 0; from < 3; ++from) all_hear(from, static_cast<u8>(from));
    networks[0].reset();
    for (size_t i : {size_t{1}, size_t{2}}) {
        CHECK(cards[i].until([&] { return cards[i].cable.size() >= 2; }));
        CHECK(cards[i].cable == std::vector<bool>{false, true});
    }
    all_hear(1, 7);
    all_hear(2, 8);
    networks[1].reset();
    networks[2].reset();
    CHECK(!std::filesystem::exists(path));
}

TEST_CASE("segments and taps that cannot be") {
    Folder folder;
    Log log;
    const std::string file = folder / "file";
    std::ofstream(file) << "x";
    CHECK(join_socket_network(file, log).error().kind == ErrorKind::usage);
    CHECK(!join_socket_network("", log));
    CHECK(!join_socket_network(std::string(200, 'x'), log));
    CHECK(!join_socket_network(folder / "none/segment", log));
    CHECK(!open_tap(""));
    CHECK(!open_tap("a-name-that-is-too-long"));
}

// An ARP request for 10.0.2.2.
std::vector<u8> arp_request() {
    std::vector<u8> frame = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x52, 0x54, 0,    0,    0,  1, 0x08, 0x06,
                             0,    1,    8,    0,    6,    4,    0,    1,    0x52, 0x54, 0,  0, 0,    1,
                             10,   0,    2,    15,   0,    0,    0,    0,    0,    0,    10, 0, 2,    2};
    return frame;
}

TEST_CASE("the user network's gateway answers on either clock") {
    Log log;
    for (const ClockMode clock : {ClockMode::realtime, ClockMode::virtual_time}) {
        Card card;
        auto backend = make_user_network({}, log);
        REQUIRE(backend);
        const auto network = make_network(std::move(*backend), clock);
        card.plug(*network);
        network->send(arp_request());
        if (clock == ClockMode::virtual_time) card.inputs.apply_all(0);
        CHECK(card.until([&] { return !card.frames.empty(); }));
        REQUIRE(!card.frames.empty());
        CHECK(load_big_endian<u32>(&card.frames[0][28]) == 0x0A000202);
        network->disconnect();
    }
}

TEST_CASE("what the user network refuses") {
    Log log;
    UserNetworkConfig config;
    config.tftp_folder = "/nowhere/at/all";
    CHECK(make_user_network(config, log).error().kind == ErrorKind::usage);
    config.tftp_folder.clear();
    config.forwards.push_back({false, 0x01020304, 1, 0x0A00020F, 80});  // no address of this host's
    CHECK(make_user_network(config, log).error().kind == ErrorKind::usage);
}

TEST_CASE("a capture is a pcap file") {
    Folder folder;
    const std::string path = folder / "capture";
    {
        auto file = CaptureFile::create(path);
        REQUIRE(file);
        CapturedPort port(nullptr, **file);
        GuestClock clock(ClockMode::virtual_time);
        clock.set_position(5);
        port.set_clock(clock);
        port.send(frame_of(60, 1));
        port.arrived(frame_of(61, 2));
        port.taken(61);
    }
    std::ifstream in(path, std::ios::binary);
    const std::vector<u8> bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    REQUIRE(bytes.size() == 24 + 16 + 60 + 16 + 61);
    CHECK(load<u32>(&bytes[0]) == 0xA1B23C4D);
    CHECK(load<u32>(&bytes[24]) == GuestClock::kVirtualEpoch);
    CHECK(load<u32>(&bytes[28]) == 5);
    CHECK(load<u32>(&bytes[24 + 16 + 60 + 8]) == 61);
    CHECK(!CaptureFile::create(folder / "none/capture"));
}

}  // namespace
}  // namespace lodge
