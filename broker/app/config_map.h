// Maps what a person wrote onto the fields of the configuration, and says of
// every fault where it is, what is there and what is allowed.
//
// Knows no field by name: it goes by the descriptor. Pure functions, for any
// thread.

#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "broker/app/config_yaml.h"

namespace broker {

// Sentences, each about one fault.
using Faults = std::vector<std::string>;

// One key from the command line or the environment.
struct Assignment {
  std::string source;  // such as "--websocket-port", for the faults
  std::string path;    // such as "websocket.port"
  std::string value;   // as text; of a list or a message, as YAML
};

// Sets the fields that `value` names, keeps the others; a list replaces a list.
// `source` begins every fault.
void ApplyValue(const ConfigValue& value, absl::string_view source,
                google::protobuf::Message& message, Faults& faults);
void ApplyAssignment(const Assignment& assignment,
                     google::protobuf::Message& message, Faults& faults);

// The paths that an Assignment may name: every field that is no message, and
// every list.
std::vector<std::string> AssignablePaths(
    const google::protobuf::Descriptor& descriptor);

// An enum's value as people write it: its name without the type's prefix.
std::string ShortName(const google::protobuf::EnumValueDescriptor& value);

}  // namespace broker
