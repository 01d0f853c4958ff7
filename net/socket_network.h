// A network segment among processes of one host: `socket=unix:PATH`.
//
// Whoever comes first listens at PATH and is the hub: what it or a member sends goes to all others. Whoever comes later
// connects. When the hub goes away, its members see their cables pulled, and one of them becomes the hub; the others
// find it. Who listens is decided under a lock on PATH's folder, so that two which start at once agree.
//
// Frames travel as QEMU's `-netdev stream` sends them (frame_stream.h), so a QEMU with server=on may be the one that
// listens, and one with server=off a member.
//
// A member that does not keep up loses frames, whole ones. The hub does not wait for it.
#pragma once

#include <memory>
#include <string>

#include "core/base/result.h"
#include "net/network.h"

namespace lodge {

// Joins the segment. ErrorKind::usage, with the reason.
Result<std::unique_ptr<NetworkBackend>> join_socket_network(const std::string& path, Log& log);

}  // namespace lodge
