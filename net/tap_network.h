// A tap interface of the host: the guest is on whatever network the host puts that on (a bridge, a route).
//
// The interface is made and configured by the administrator (`ip tuntap add dev NAME mode tap user USER`), or made anew
// for as long as lodge runs when lodge may do so.
#pragma once

#include <memory>
#include <string>

#include "core/base/result.h"
#include "net/network.h"

namespace lodge {

// ErrorKind::usage, with a remedy, when the interface cannot be had.
Result<std::unique_ptr<NetworkBackend>> open_tap(const std::string& interface);

}  // namespace lodge
