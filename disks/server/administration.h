// What people change in a store, with the rules that hold whoever asks: the command line, the API. Each call that
// changes something writes a line to the store's log.
#pragma once

#include <functional>
#include <string>

#include "disks/server/store.h"

namespace lodge::server {

struct ImportOptions {
    std::string name;   // of the vDisk to be
    std::string image;  // raw, VHD (a chain is flattened) or a block device
    bool raw = false;   // it is raw whatever it looks like
    std::string note;
    // Bytes done of all, now and then; false stops the import, which then leaves nothing.
    std::function<bool(u64 done, u64 all)> progress;
};

class Administration {
  public:
    // `who` is written to the log.
    Administration(Store& store, std::string who) : store_(store), who_(std::move(who)) {}

    // A dynamic VHD that nobody sees before it is whole. Errors: also those of open_image and copy_disk.
    Result<VDisk> import_vdisk(const ImportOptions& options);
    // An empty vDisk of that many bytes, for an installation over the network.
    Result<VDisk> create_vdisk(const std::string& name, u64 bytes, const std::string& note);
    // Locked: a client uses it. Usage: it is the default vDisk, or assigned (unless `force`).
    Result<void> remove_vdisk(const std::string& name, bool force);
    Result<void> change_note(const std::string& name, const std::string& note);

    // `client.mac` in any spelling; `added` and `last_seen` are set here.
    Result<Client> add_client(Client client);
    Result<void> change_client(const Client& client);
    Result<void> remove_client(const std::string& mac);

    Result<void> assign(Assignment assignment);
    Result<void> unassign(const std::string& mac, const std::string& vdisk);

    Result<void> change_settings(const Settings& settings);

  private:
    Result<void> log(const std::string& what);
    Result<void> check_new_vdisk(const std::string& name, const std::string& note);
    Result<VDisk> enter(const VDisk& vdisk, const std::string& what);
    Result<void> check_unneeded(const std::string& vdisk);

    Store& store_;
    std::string who_;
};

}  // namespace lodge::server
