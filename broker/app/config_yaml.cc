#include "broker/app/config_yaml.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/duration.pb.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <exception>
#include <sstream>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "broker/app/config_map.h"
#include "broker/core/status_macros.h"

namespace broker {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr int kMaxDepth = 16;
// An alias stands for all that its anchor has, so a short text can be a large
// tree.
constexpr int kMaxValues = 10'000;

int LineOf(const YAML::Mark& mark) {
  return mark.is_null() ? 0 : mark.line + 1;
}

absl::Status AtLine(int line, absl::string_view what) {
  return absl::InvalidArgumentError(line > 0 ? absl::StrCat(line, ": ", what)
                                             : std::string(what));
}

class Converter {
 public:
  absl::StatusOr<ConfigValue> Convert(const YAML::Node& node, int depth) {
    ConfigValue value;
    value.line = LineOf(node.Mark());
    if (depth > kMaxDepth) {
      return AtLine(value.line,
                    absl::StrCat("nested deeper than ", kMaxDepth, " levels"));
    }
    if (++count_ > kMaxValues) {
      return AtLine(value.line,
                    absl::StrCat("more than ", kMaxValues, " values"));
    }
    if (node.IsScalar()) {
      value.kind = ConfigValue::Kind::kScalar;
      value.scalar = node.Scalar();
    } else if (node.IsSequence()) {
      value.kind = ConfigValue::Kind::kList;
      for (const YAML::Node& item : node) {
        BROKER_ASSIGN_OR_RETURN(ConfigValue converted,
                                Convert(item, depth + 1));
        value.items.push_back(std::move(converted));
      }
    } else if (node.IsMap()) {
      value.kind = ConfigValue::Kind::kMap;
      for (const auto& member : node) {
        BROKER_RETURN_IF_ERROR(AddMember(member, depth, value));
      }
    }
    return value;
  }

 private:
  template <typename Member>
  absl::Status AddMember(const Member& member, int depth, ConfigValue& value) {
    const int line = LineOf(member.first.Mark());
    if (!member.first.IsScalar()) {
      return AtLine(line, "a key must be a plain text");
    }
    const std::string& key = member.first.Scalar();
    if (std::find(value.keys.begin(), value.keys.end(), key) !=
        value.keys.end()) {
      return AtLine(line, absl::StrCat("the key \"", key, "\" is given twice"));
    }
    BROKER_ASSIGN_OR_RETURN(ConfigValue converted,
                            Convert(member.second, depth + 1));
    // An error is about the key as much as about the value.
    converted.line = line;
    value.keys.push_back(key);
    value.items.push_back(std::move(converted));
    return absl::OkStatus();
  }

  int count_ = 0;
};

// Sees where documents begin, and nothing else.
class DocumentStarts final : public YAML::EventHandler {
 public:
  const std::vector<YAML::Mark>& marks() const { return marks_; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    marks_.push_back(mark);
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}

 private:
  std::vector<YAML::Mark> marks_;
};

// Not by YAML::LoadAll: of a text such as "," it makes documents without end.
absl::Status RequireOneDocument(const std::string& text) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  DocumentStarts starts;
  const bool second =
      parser.HandleNextDocument(starts) && parser.HandleNextDocument(starts);
  if (!second) return absl::OkStatus();
  const YAML::Mark& at = starts.marks().back();
  return AtLine(LineOf(at),
                at.pos == starts.marks().front().pos
                    ? "not YAML: no value can begin like this"
                    : "a second document begins; there must be one");
}

void Write(const Message& message, YAML::Emitter& out);

void WriteValue(const Message& message, const FieldDescriptor& field, int index,
                YAML::Emitter& out) {
  const auto& reflection = *message.GetReflection();
  const bool many = field.is_repeated();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      const Message& inner =
          many ? reflection.GetRepeatedMessage(message, &field, index)
               : reflection.GetMessage(message, &field);
      if (inner.GetTypeName() == "google.protobuf.Duration") {
        const auto& d = static_cast<const google::protobuf::Duration&>(inner);
        out << absl::FormatDuration(absl::Seconds(d.seconds()) +
                                    absl::Nanoseconds(d.nanos()));
      } else {
        Write(inner, out);
      }
      break;
    }
    case FieldDescriptor::CPPTYPE_ENUM:
      out << ShortName(
          *(many ? reflection.GetRepeatedEnum(message, &field, index)
                 : reflection.GetEnum(message, &field)));
      break;
    case FieldDescriptor::CPPTYPE_STRING:
      // Always quoted: a namespace may be called null.
      out << YAML::DoubleQuoted
          << (many ? reflection.GetRepeatedString(message, &field, index)
                   : reflection.GetString(message, &field));
      break;
    case FieldDescriptor::CPPTYPE_BOOL:
      out << reflection.GetBool(message, &field);
      break;
    case FieldDescriptor::CPPTYPE_UINT32:
      out << reflection.GetUInt32(message, &field);
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      out << reflection.GetUInt64(message, &field);
      break;
    default:  // There are no others: see config_map.cc.
      out << YAML::Null;
  }
}

void Write(const Message& message, YAML::Emitter& out) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  out << YAML::BeginMap;
  for (const FieldDescriptor* field : fields) {
    out << YAML::Key << field->name() << YAML::Value;
    if (!field->is_repeated()) {
      WriteValue(message, *field, 0, out);
      continue;
    }
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE)
      out << YAML::Flow;
    out << YAML::BeginSeq;
    const int size = message.GetReflection()->FieldSize(message, field);
    for (int i = 0; i < size; ++i) WriteValue(message, *field, i, out);
    out << YAML::EndSeq;
  }
  out << YAML::EndMap;
}

}  // namespace

absl::StatusOr<ConfigValue> ParseYaml(absl::string_view text) {
  try {
    const std::string owned(text);
    BROKER_RETURN_IF_ERROR(RequireOneDocument(owned));
    return Converter().Convert(YAML::Load(owned), 0);
  } catch (const YAML::Exception& e) {
    return AtLine(LineOf(e.mark), absl::StrCat("not YAML: ", e.msg));
  } catch (const std::exception& e) {
    return AtLine(0, absl::StrCat("not YAML: ", e.what()));
  }
}

std::string WriteYaml(const Message& message) {
  YAML::Emitter out;
  Write(message, out);
  return absl::StrCat(out.c_str(), "\n");
}

}  // namespace broker
