// SPDX-License-Identifier: Apache-2.0

import QpidProton

/// A request to the management node: an HTTP method, path and body in a message.
struct ManagementRequest: Equatable {
    enum Method: String {
        case get = "GET"
        case put = "PUT"
        case post = "POST"
        case delete = "DELETE"
    }

    var method: Method
    var path: String
    /// The body; null if the request has none, because the broker requires a body section.
    var body: AMQPValue = .null

    init(_ method: Method, _ path: String, body: AMQPValue = .null) {
        self.method = method
        self.path = path
        self.body = body
    }

    /// Creates a request about a named entity in a collection.
    init(_ method: Method, _ collection: String, _ name: String, rest: String = "", body: AMQPValue = .null)
        throws(AMQPError)
    {
        // The broker interprets these names as path steps, even if encoded, and then ends the session because of the
        // remaining path.
        guard name != ".", name != ".." else {
            let text = "RabbitMQ's management cannot address an entity named '\(name)': use another name"
            throw AMQPError(condition: .invalidArgument, detail: text)
        }
        self.init(method, "/\(collection)/\(RabbitMQAddress.encoded(name))\(rest)", body: body)
    }

    func message(id: UInt64) -> AMQPMessage {
        var message = AMQPMessage(body: self.body)
        message.properties.messageID = .ulong(id)
        message.properties.to = self.path
        message.properties.subject = self.method.rawValue
        message.properties.replyTo = "$me"
        return message
    }
}

/// The broker's answer to a request.
struct ManagementResponse: Equatable {
    var status: Int
    var body: AMQPValue

    /// Reads an answer. Returns `nil` for a message that answers no request of this side.
    static func read(_ message: AMQPMessage) -> (id: UInt64, result: Result<Self, AMQPError>)? {
        guard case .ulong(let id) = message.properties.correlationID else { return nil }
        guard let subject = message.properties.subject, let status = Int(subject), (100...599).contains(status) else {
            let text = "the broker's answer has no status, but the subject '\(message.properties.subject ?? "")'"
            return (id, .failure(AMQPError(condition: .decodeError, detail: text)))
        }
        guard case .value(let body) = message.body else {
            let text = "the broker's answer of status \(status) has a body that is not a single value"
            return (id, .failure(AMQPError(condition: .decodeError, detail: text)))
        }
        return (id, .success(Self(status: status, body: body)))
    }

    /// Returns the map in a successful answer.
    func map() throws(AMQPError) -> AMQPMap {
        guard let map = self.body.mapValue else {
            throw AMQPError(
                condition: .decodeError,
                detail: "the broker's answer of status \(self.status) is not a map: \(self.body)"
            )
        }
        return map
    }

    /// Returns the number of deleted messages.
    func messageCount() throws(AMQPError) -> Int {
        guard let count = try self.map()["message_count"]?.intValue else {
            throw AMQPError(condition: .decodeError, detail: "the broker's answer has no message_count: \(self.body)")
        }
        return count
    }

    /// The error of an answer; `nil` if its status is a success.
    var error: AMQPError? {
        guard !(200...299).contains(self.status) else { return nil }
        let words = self.body.stringValue ?? (self.body.isNull ? "" : "\(self.body)")
        // If an entity does not exist, the broker answers 400 and explains the cause in the text.
        let isMissing = self.status == 400 && (words.hasPrefix("no queue ") || words.hasPrefix("no exchange "))
        let condition: AMQPCondition =
            switch self.status {
            case _ where isMissing: .notFound
            case 400 where words.hasPrefix("cannot obtain exclusive access to locked"): .resourceLocked
            case 400: .invalidField
            case 401: .unauthorizedAccess
            case 403: .notAllowed
            case 404: .notFound
            case 405, 501: .notImplemented
            case 409: .preconditionFailed
            default: .internalError
            }
        let text = words.isEmpty ? "status \(self.status)" : words
        var error = AMQPError(condition: condition, detail: text, info: [.symbol("status"): .long(Int64(self.status))])
        error.origin = .peer
        return error
    }
}
