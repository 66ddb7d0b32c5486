// Reads the configuration file. For any thread.

#pragma once

#include <google/protobuf/message.h>

#include <string>

#include "broker/app/config_map.h"

namespace broker {

// Every fault begins with the file's name and, where it is known, the line.
void ApplyFile(const std::string& file, google::protobuf::Message& message,
               Faults& faults);

}  // namespace broker
