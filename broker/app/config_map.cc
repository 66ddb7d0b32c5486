#include "broker/app/config_map.h"

#include <google/protobuf/duration.pb.h>

#include <cassert>
#include <cstdint>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "broker/app/wording.h"
#include "broker/core/quoted.h"

namespace broker {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using Kind = ConfigValue::Kind;

bool IsDuration(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         field.message_type()->full_name() == "google.protobuf.Duration";
}

// Whether a field's value is a map of further fields.
bool IsGroup(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         !IsDuration(field);
}

// The names of the enum's values but for the one that is not used.
std::vector<std::string> ShortNames(const EnumDescriptor& type) {
  std::vector<std::string> names;
  for (int i = 1; i < type.value_count(); ++i) {
    names.push_back(ShortName(*type.value(i)));
  }
  return names;
}

// What may be written as one value of the field.
std::string Allowed(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return IsDuration(field) ? R"(a duration such as "25s" or "500ms")"
                               : "a map of keys";
    case FieldDescriptor::CPPTYPE_ENUM:
      return absl::StrCat("one of ",
                          absl::StrJoin(ShortNames(*field.enum_type()), ", "));
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    case FieldDescriptor::CPPTYPE_UINT32:
      return "a whole number from 0 to 4294967295";
    case FieldDescriptor::CPPTYPE_UINT64:
      return "a whole number from 0";
    default:
      return "a text";
  }
}

std::string Describe(const ConfigValue& value) {
  switch (value.kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kScalar:
      return Quoted(value.scalar);
    case Kind::kList:
      return "a list";
    case Kind::kMap:
      return "a map";
  }
  return "";
}

std::vector<std::string> FieldNames(const Descriptor& descriptor) {
  std::vector<std::string> names;
  names.reserve(static_cast<size_t>(descriptor.field_count()));
  for (int i = 0; i < descriptor.field_count(); ++i) {
    names.push_back(descriptor.field(i)->name());
  }
  return names;
}

class Mapper {
 public:
  Mapper(absl::string_view source, Faults& faults)
      : source_(source), faults_(faults) {}

  void Fill(const ConfigValue& value, const std::string& path,
            Message& message) {
    if (value.kind == Kind::kNull) return;  // A key with all below left out.
    const Descriptor& descriptor = *message.GetDescriptor();
    if (value.kind != Kind::kMap) {
      return Fault(value, path,
                   absl::StrCat(Describe(value),
                                " is not a map of keys; known ", "here are ",
                                absl::StrJoin(FieldNames(descriptor), ", ")));
    }
    for (size_t i = 0; i < value.keys.size(); ++i) {
      const std::string below =
          path.empty() ? value.keys[i] : absl::StrCat(path, ".", value.keys[i]);
      const FieldDescriptor* field = descriptor.FindFieldByName(value.keys[i]);
      if (field == nullptr) {
        UnknownKey(value.items[i], path, value.keys[i], descriptor);
      } else if (field->is_repeated()) {
        FillList(value.items[i], below, *field, message);
      } else {
        FillField(value.items[i], below, *field, message);
      }
    }
  }

  void Fault(const ConfigValue& value, const std::string& path,
             absl::string_view what) {
    faults_.push_back(absl::StrCat(
        source_, value.line > 0 ? absl::StrCat(":", value.line) : "",
        source_.empty() ? "" : ": ", path, path.empty() ? "" : ": ", what));
  }

  void UnknownKey(const ConfigValue& value, const std::string& path,
                  const std::string& key, const Descriptor& descriptor) {
    const std::vector<std::string> known = FieldNames(descriptor);
    const std::string nearest = Nearest(key, known);
    const std::string prefix = path.empty() ? "" : absl::StrCat(path, ".");
    Fault(
        value, "",
        absl::StrCat(
            "there is no key ", Quoted(prefix + key),
            nearest.empty()
                ? absl::StrCat("; known here are ", absl::StrJoin(known, ", "))
                : absl::StrCat("; did you mean \"", prefix, nearest, "\"?")));
  }

 private:
  void FillList(const ConfigValue& value, const std::string& path,
                const FieldDescriptor& field, Message& message) {
    if (value.kind == Kind::kNull) return;
    if (value.kind != Kind::kList) {
      return Fault(value, path,
                   absl::StrCat(Describe(value),
                                " is not a list; allowed is a list, each item ",
                                Allowed(field)));
    }
    if (value.items.empty()) {
      return Fault(value, path,
                   "the list is empty; leave the key out for the default");
    }
    message.GetReflection()->ClearField(&message, &field);
    for (size_t i = 0; i < value.items.size(); ++i) {
      FillField(value.items[i], absl::StrCat(path, "[", i, "]"), field,
                message);
    }
  }

  // Sets the field, or adds to the list.
  void FillField(const ConfigValue& value, const std::string& path,
                 const FieldDescriptor& field, Message& message) {
    const auto& reflection = *message.GetReflection();
    const bool many = field.is_repeated();
    if (value.kind == Kind::kNull && !many) return;  // Left out.
    if (IsGroup(field)) {
      Message* inner = many ? reflection.AddMessage(&message, &field)
                            : reflection.MutableMessage(&message, &field);
      return Fill(value, path, *inner);
    }
    if (value.kind != Kind::kScalar ||
        !SetScalar(value.scalar, field, message)) {
      Fault(value, path,
            absl::StrCat(Describe(value), " is not allowed; allowed is ",
                         Allowed(field)));
    }
  }

  static bool SetScalar(const std::string& text, const FieldDescriptor& field,
                        Message& message);
  static bool SetEnum(const std::string& text, const FieldDescriptor& field,
                      Message& message);
  static bool SetDuration(const std::string& text, const FieldDescriptor& field,
                          Message& message);

  const std::string source_;
  Faults& faults_;
};

bool Mapper::SetScalar(const std::string& text, const FieldDescriptor& field,
                       Message& message) {
  const auto& reflection = *message.GetReflection();
  uint64_t number = 0;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      if (text != "true" && text != "false") return false;
      reflection.SetBool(&message, &field, text == "true");
      return true;
    case FieldDescriptor::CPPTYPE_UINT32:
      if (!absl::SimpleAtoi(text, &number) ||
          number > std::numeric_limits<uint32_t>::max()) {
        return false;
      }
      reflection.SetUInt32(&message, &field, static_cast<uint32_t>(number));
      return true;
    case FieldDescriptor::CPPTYPE_UINT64:
      if (!absl::SimpleAtoi(text, &number)) return false;
      reflection.SetUInt64(&message, &field, number);
      return true;
    case FieldDescriptor::CPPTYPE_STRING:
      if (field.is_repeated()) {
        reflection.AddString(&message, &field, text);
      } else {
        reflection.SetString(&message, &field, text);
      }
      return true;
    case FieldDescriptor::CPPTYPE_ENUM:
      return SetEnum(text, field, message);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return SetDuration(text, field, message);
    default:
      return false;
  }
}

bool Mapper::SetEnum(const std::string& text, const FieldDescriptor& field,
                     Message& message) {
  const EnumDescriptor& type = *field.enum_type();
  for (int i = 1; i < type.value_count(); ++i) {
    const EnumValueDescriptor* value = type.value(i);
    // The full name is what the JSON form of protobuf has.
    if (!absl::EqualsIgnoreCase(text, ShortName(*value)) &&
        text != value->name()) {
      continue;
    }
    if (field.is_repeated()) {
      message.GetReflection()->AddEnum(&message, &field, value);
    } else {
      message.GetReflection()->SetEnum(&message, &field, value);
    }
    return true;
  }
  return false;
}

bool Mapper::SetDuration(const std::string& text, const FieldDescriptor& field,
                         Message& message) {
  absl::Duration duration;
  // Ten thousand years are the most that a Duration may hold.
  if (!absl::ParseDuration(text, &duration) ||
      duration < absl::ZeroDuration() || duration > absl::Hours(87'600'000)) {
    return false;
  }
  auto& out = static_cast<google::protobuf::Duration&>(
      *message.GetReflection()->MutableMessage(&message, &field));
  out.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &duration));
  out.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(duration)));
  return true;
}

void AddPaths(const Descriptor& descriptor, const std::string& prefix,
              std::vector<std::string>& out) {
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor& field = *descriptor.field(i);
    if (!field.is_repeated() && IsGroup(field)) {
      AddPaths(*field.message_type(), absl::StrCat(prefix, field.name(), "."),
               out);
    } else {
      out.push_back(absl::StrCat(prefix, field.name()));
    }
  }
}

}  // namespace

void ApplyValue(const ConfigValue& value, absl::string_view source,
                Message& message, Faults& faults) {
  Mapper(source, faults).Fill(value, "", message);
}

void ApplyAssignment(const Assignment& assignment, Message& message,
                     Faults& faults) {
  Mapper mapper(assignment.source, faults);
  const std::vector<std::string> keys = absl::StrSplit(assignment.path, '.');
  // Down to the field, to learn whether its value is a text or YAML.
  const Descriptor* group = message.GetDescriptor();
  const FieldDescriptor* field = nullptr;
  for (size_t i = 0; i < keys.size(); ++i) {
    const std::string above =
        absl::StrJoin(keys.begin(), keys.begin() + static_cast<long>(i), ".");
    if (group == nullptr) {
      return mapper.Fault(
          {}, "",
          absl::StrCat("there is no key ", Quoted(assignment.path),
                       ": below \"", above, "\" there is none"));
    }
    field = group->FindFieldByName(keys[i]);
    if (field == nullptr) return mapper.UnknownKey({}, above, keys[i], *group);
    const bool inner = IsGroup(*field) && !field->is_repeated();
    group = inner ? field->message_type() : nullptr;
  }
  assert(field != nullptr);  // StrSplit returns one part at least

  ConfigValue value;
  value.kind = Kind::kScalar;
  value.scalar = assignment.value;
  if (field->is_repeated() || IsGroup(*field)) {
    absl::StatusOr<ConfigValue> parsed = ParseYaml(assignment.value);
    if (!parsed.ok()) {
      return mapper.Fault({}, assignment.path, parsed.status().message());
    }
    value = *std::move(parsed);
  }
  for (auto key = keys.rbegin(); key != keys.rend(); ++key) {
    ConfigValue outer;
    outer.kind = Kind::kMap;
    outer.keys = {*key};
    outer.items.push_back(std::move(value));
    value = std::move(outer);
  }
  mapper.Fill(value, "", message);
}

std::vector<std::string> AssignablePaths(const Descriptor& descriptor) {
  std::vector<std::string> paths;
  AddPaths(descriptor, "", paths);
  return paths;
}

std::string ShortName(const EnumValueDescriptor& value) {
  // "LogLevel" is the prefix "LOG_LEVEL_".
  std::string prefix;
  for (const char c : value.type()->name()) {
    if (absl::ascii_isupper(c) && !prefix.empty()) prefix += '_';
    prefix += absl::ascii_toupper(c);
  }
  prefix += '_';
  return absl::StartsWith(value.name(), prefix)
             ? value.name().substr(prefix.size())
             : value.name();
}

}  // namespace broker
