// FilterToText: FilterExpr to text, for people and for command lines.
//
// Thread-safe: a pure function.

#pragma once

#include <string>

#include "socketbroker/v1/filter.pb.h"

namespace broker {

// Text that ParseFilter reads back to the same meaning. The tree must compile.
// The text may be longer than ParseFilter takes when the tree is close to the
// limit of bytes, since values are quoted and escaped.
std::string FilterToText(const socketbroker::v1::FilterExpr& expr);

}  // namespace broker
