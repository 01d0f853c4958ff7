// The store's tables, version by version.
#pragma once

#include "disks/server/database.h"

namespace lodge::server {

// Makes the tables of the newest version in a database that is empty.
Result<void> make_schema(Database& database);
// Sees that it is a store's database and brings it to the newest version, in one transaction. Errors: bad_format (not
// a store's, of a newer version, or with what no store has).
Result<void> update_schema(Database& database);

}  // namespace lodge::server
