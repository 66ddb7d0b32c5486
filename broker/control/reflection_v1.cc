#include "broker/control/reflection_v1.h"

#include <set>
#include <utility>

#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "grpc/reflection/v1/reflection.grpc.pb.h"

namespace broker {
namespace {

namespace pb = ::google::protobuf;
namespace reflection = ::grpc::reflection::v1;
using Request = reflection::ServerReflectionRequest;
using Response = reflection::ServerReflectionResponse;

void AddFile(const pb::FileDescriptor& file, std::set<std::string>& seen,
             Response& out) {
  if (!seen.insert(file.name()).second) return;
  pb::FileDescriptorProto proto;
  file.CopyTo(&proto);
  out.mutable_file_descriptor_response()->add_file_descriptor_proto(
      proto.SerializeAsString());
  for (int i = 0; i < file.dependency_count(); ++i) {
    AddFile(*file.dependency(i), seen, out);
  }
}

void SetError(grpc::StatusCode code, const std::string& message,
              Response& out) {
  out.mutable_error_response()->set_error_code(code);
  out.mutable_error_response()->set_error_message(message);
}

void SetFile(const pb::FileDescriptor* file, const std::string& asked,
             Response& out) {
  std::set<std::string> seen;
  if (file != nullptr) {
    AddFile(*file, seen, out);
  } else {
    SetError(grpc::StatusCode::NOT_FOUND, "unknown: " + asked, out);
  }
}

Response Answer(const Request& request,
                const std::vector<std::string>& services) {
  const pb::DescriptorPool& pool = *pb::DescriptorPool::generated_pool();
  Response out;
  out.set_valid_host(request.host());
  *out.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case Request::kListServices:
      for (const std::string& name : services) {
        out.mutable_list_services_response()->add_service()->set_name(name);
      }
      break;
    case Request::kFileByFilename:
      SetFile(pool.FindFileByName(request.file_by_filename()),
              request.file_by_filename(), out);
      break;
    case Request::kFileContainingSymbol:
      SetFile(pool.FindFileContainingSymbol(request.file_containing_symbol()),
              request.file_containing_symbol(), out);
      break;
    default:  // Extensions: proto3 has none.
      SetError(grpc::StatusCode::UNIMPLEMENTED,
               "ask for services, a file or a symbol", out);
  }
  return out;
}

// One stream of questions, each answered before the next is read.
class Stream final : public grpc::ServerBidiReactor<Request, Response> {
 public:
  explicit Stream(const std::vector<std::string>& services)
      : services_(services) {
    StartRead(&request_);
  }
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    response_ = Answer(request_, services_);
    StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::CANCELLED);
    StartRead(&request_);
  }
  void OnDone() override { delete this; }

 private:
  const std::vector<std::string>& services_;
  Request request_;
  Response response_;
};

class ReflectionV1 final
    : public reflection::ServerReflection::CallbackService {
 public:
  explicit ReflectionV1(std::vector<std::string> services)
      : services_(std::move(services)) {}
  grpc::ServerBidiReactor<Request, Response>* ServerReflectionInfo(
      grpc::CallbackServerContext*) override {
    return new Stream(services_);
  }

 private:
  const std::vector<std::string> services_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeReflectionV1(
    std::vector<std::string> services) {
  return std::make_unique<ReflectionV1>(std::move(services));
}

}  // namespace broker
