#include "broker/control/reflection.h"

#include <set>
#include <utility>

#include "broker/rpc/status.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"

namespace broker {
namespace {

namespace pb = ::google::protobuf;

// The versions differ in their package only.
struct V1 {
  using Service = grpc::reflection::v1::ServerReflection;
  using Request = grpc::reflection::v1::ServerReflectionRequest;
  using Response = grpc::reflection::v1::ServerReflectionResponse;
};
struct V1Alpha {
  using Service = grpc::reflection::v1alpha::ServerReflection;
  using Request = grpc::reflection::v1alpha::ServerReflectionRequest;
  using Response = grpc::reflection::v1alpha::ServerReflectionResponse;
};

template <typename Response>
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

template <typename Response>
void SetError(grpc::StatusCode code, const std::string& message,
              Response& out) {
  out.mutable_error_response()->set_error_code(code);
  out.mutable_error_response()->set_error_message(message);
}

template <typename Response>
void SetFile(const pb::FileDescriptor* file, const std::string& asked,
             Response& out) {
  std::set<std::string> seen;
  if (file != nullptr) {
    AddFile(*file, seen, out);
  } else {
    SetError(grpc::StatusCode::NOT_FOUND, "unknown: " + asked, out);
  }
}

template <typename Version>
typename Version::Response Answer(const typename Version::Request& request,
                                  const std::vector<std::string>& services) {
  const pb::DescriptorPool& pool = *pb::DescriptorPool::generated_pool();
  using Request = typename Version::Request;
  typename Version::Response out;
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
template <typename Version>
class Stream final
    : public grpc::ServerBidiReactor<typename Version::Request,
                                     typename Version::Response> {
 public:
  Stream(const std::vector<std::string>& services, const absl::Status& allowed)
      : services_(services) {
    if (allowed.ok()) {
      this->StartRead(&request_);
    } else {
      this->Finish(ToGrpcStatus(allowed));
    }
  }
  void OnReadDone(bool ok) override {
    if (!ok) return this->Finish(grpc::Status::OK);
    response_ = Answer<Version>(request_, services_);
    this->StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return this->Finish(grpc::Status::CANCELLED);
    this->StartRead(&request_);
  }
  void OnDone() override { delete this; }

 private:
  const std::vector<std::string>& services_;
  typename Version::Request request_;
  typename Version::Response response_;
};

template <typename Version>
class Reflection final : public Version::Service::CallbackService {
 public:
  Reflection(std::vector<std::string> services, const Access& access)
      : services_(std::move(services)), access_(access) {}
  Stream<Version>* ServerReflectionInfo(
      grpc::CallbackServerContext* context) override {
    return new Stream<Version>(services_, access_.Identify(*context).status());
  }

 private:
  const std::vector<std::string> services_;
  const Access& access_;
};

}  // namespace

std::vector<std::unique_ptr<grpc::Service>> MakeReflection(
    std::vector<std::string> services, const Access& access) {
  services.push_back(V1::Service::service_full_name());
  services.push_back(V1Alpha::Service::service_full_name());
  std::vector<std::unique_ptr<grpc::Service>> both;
  both.push_back(std::make_unique<Reflection<V1>>(services, access));
  both.push_back(
      std::make_unique<Reflection<V1Alpha>>(std::move(services), access));
  return both;
}

}  // namespace broker
