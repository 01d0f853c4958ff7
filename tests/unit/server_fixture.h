// A store in a folder of its own, with a client and two vDisks, and a server's live side that says what it is told.
#pragma once

#include <map>
#include <mutex>

#include "disks/server/live.h"
#include "tests/unit/image_support.h"

namespace lodge::test {

inline const std::string kClientMac = "52:54:00:12:34:56";
inline const std::string kClientUuid = "01234567-89ab-cdef-0123-456789abcdef";
inline const std::string kStrangerMac = "52:54:00:00:00:01";

class FakeLive final : public server::Live {
  public:
    server::ServerFacts facts() override { return {.started = 1000, .iscsi_address = "127.0.0.1:3260"}; }
    std::vector<server::LiveSession> sessions() override {
        std::lock_guard lock(mutex);
        return list;
    }
    std::vector<server::CacheUse> caches() override { return {{kClientMac, "debian", 1024, 2048, 4096, true}}; }
    Result<void> disconnect(const std::string& id) override {
        std::lock_guard lock(mutex);
        if (std::erase_if(list, [&](auto& each) { return each.id == id; }) == 0)
            return Error{ErrorKind::not_found, "there is no session " + id};
        return {};
    }
    std::optional<std::string> in_use(const std::string& vdisk, server::Mode mode, const std::string& mac) override {
        const auto found = users.find(vdisk);
        if (found == users.end() || found->second == mac || mode == server::Mode::shared) return {};
        return "in use by " + found->second;
    }

    std::mutex mutex;
    std::vector<server::LiveSession> list;
    std::map<std::string, std::string> users;  // of vDisks, privately
};

struct ServerFixture {
    TemporaryFolder folder;
    std::unique_ptr<server::Store> store = must(server::create_store(folder / "store"));
    FakeLive live;

    ServerFixture() {
        for (const char* name : {"debian", "win10"})
            must(store->add_vdisk({name, std::string(name) + ".vhd", kMiB, "", 1}));
        must(store->add_client({.mac = kClientMac, .name = "Front desk", .uuid = kClientUuid}));
    }

    void assign(const std::string& vdisk, server::Mode mode, i32 order = 0) {
        must(store->assign({kClientMac, vdisk, mode, order}));
    }
    void set_policy(server::UnknownClients policy, const std::string& vdisk = "") {
        auto settings = must(store->settings());
        settings.unknown_clients = policy;
        settings.default_vdisk = vdisk;
        must(store->change_settings(settings));
    }
};

}  // namespace lodge::test
