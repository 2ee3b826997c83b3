// SPDX-License-Identifier: Apache-2.0

#if Configuration
    internal import Configuration

    /// The keys of a client's settings. `Recovery.md` lists them; a test compares the two lists.
    enum ClientKey: String, CaseIterable, Sendable {
        case urls = "amqp.urls"
        case user = "amqp.user"
        case password = "amqp.password"
        case mechanism = "amqp.mechanism"
        case allowsPlainWithoutTLS = "amqp.allowsPlainWithoutTLS"
        case containerID = "amqp.containerID"
        case virtualHost = "amqp.virtualHost"
        case tlsAuthorities = "amqp.tls.authorities"
        case tlsCertificate = "amqp.tls.certificate"
        case tlsKey = "amqp.tls.key"
        case tlsServerName = "amqp.tls.serverName"
        case tlsVerification = "amqp.tls.verification"
        case tlsMinimumVersion = "amqp.tls.minimumVersion"
        case firstDelay = "amqp.recovery.firstDelay"
        case longestDelay = "amqp.recovery.longestDelay"
        case firstConnectionTimeout = "amqp.recovery.firstConnectionTimeout"
        case giveUpAfter = "amqp.recovery.giveUpAfter"
        case announcedHosts = "amqp.recovery.announcedHosts"
        case idleTimeout = "amqp.idleTimeout"
        case connectTimeout = "amqp.connectTimeout"
        case openTimeout = "amqp.openTimeout"
        case operationTimeout = "amqp.operationTimeout"
        case shutdownLimit = "amqp.shutdownLimit"
        case sessionLimit = "amqp.sessionLimit"
        case maxFrameSize = "amqp.maxFrameSize"
        case sendLimit = "amqp.sendLimit"
        case incomingCapacity = "amqp.incomingCapacity"

        /// Whether the value may hold a password.
        var isSecret: Bool { self == .urls || self == .password }
    }

    /// Reads a client's settings. The error of an unusable value names the key and the remedy.
    struct ClientSettings {
        let reader: ConfigReader

        /// Returns a text; `nil` if there is none or an empty one.
        func text(_ key: ClientKey) throws(AMQPError) -> String? {
            guard let text = self.reader.string(forKey: ConfigKey(key.rawValue), isSecret: key.isSecret) else {
                try self.refuseOther(key, "a text")
                return nil
            }
            return text.isEmpty ? nil : text
        }

        /// Returns one of several words.
        func choice<Value>(_ key: ClientKey, _ values: KeyValuePairs<String, Value>) throws(AMQPError) -> Value? {
            guard let text = try self.text(key) else { return nil }
            if let match = values.first(where: { $0.key.lowercased() == text.lowercased() }) { return match.value }
            throw Self.error(key, text.debugDescription, "one of \(values.map(\.key).joined(separator: ", "))")
        }

        func flag(_ key: ClientKey) throws(AMQPError) -> Bool? {
            let flag = self.reader.bool(forKey: ConfigKey(key.rawValue))
            if flag == nil { try self.refuseOther(key, "true or false") }
            return flag
        }

        func count(_ key: ClientKey, _ what: String) throws(AMQPError) -> Int? {
            let count = self.reader.int(forKey: ConfigKey(key.rawValue))
            if count == nil { try self.refuseOther(key, what) }
            return count
        }

        func bytes(_ key: ClientKey) throws(AMQPError) -> AMQPByteCount? {
            let expected = "a number of bytes, for example 1048576"
            guard let count = try self.count(key, expected) else { return nil }
            guard count > 0 else { throw Self.error(key, "\(count)", expected) }
            return AMQPByteCount(count)
        }

        /// Returns a number of seconds, whole or fractional.
        func seconds(_ key: ClientKey) throws(AMQPError) -> Duration? {
            try self.seconds(key, "a number of seconds above 0, for example 0.5") { $0 > 0 }
        }

        /// Reads a limit in seconds; the value 0 removes it.
        func read(_ key: ClientKey, into limit: inout Duration?) throws(AMQPError) {
            let expected = "a number of seconds, for example 0.5, or 0 for no limit"
            guard let time = try self.seconds(key, expected, where: { $0 >= 0 }) else { return }
            limit = time == .zero ? nil : time
        }

        private func seconds(
            _ key: ClientKey,
            _ expected: String,
            where isUsable: (Double) -> Bool
        ) throws(AMQPError) -> Duration? {
            let name = ConfigKey(key.rawValue)
            guard let seconds = self.reader.double(forKey: name) ?? self.reader.int(forKey: name).map({ Double($0) })
            else {
                try self.refuseOther(key, expected)
                return nil
            }
            guard isUsable(seconds), seconds < 1e10 else { throw Self.error(key, "\(seconds)", expected) }
            return .seconds(seconds)
        }

        /// Returns a list, or the parts of a text with commas.
        func list(_ key: ClientKey) throws(AMQPError) -> [String] {
            let name = ConfigKey(key.rawValue)
            if let list = self.reader.stringArray(forKey: name, isSecret: key.isSecret) {
                return list.filter { !$0.isEmpty }
            }
            return try self.text(key)?.split(separator: ",").map { $0.trimmingSpaces } ?? []
        }

        // MARK: Errors

        /// Throws if the key has a value of another type.
        private func refuseOther(_ key: ClientKey, _ expected: String) throws(AMQPError) {
            let name = ConfigKey(key.rawValue)
            let other: String? =
                self.reader.string(forKey: name, isSecret: key.isSecret)?.debugDescription
                ?? self.reader.int(forKey: name, isSecret: key.isSecret).map { "\($0)" }
                ?? self.reader.double(forKey: name, isSecret: key.isSecret).map { "\($0)" }
                ?? self.reader.bool(forKey: name, isSecret: key.isSecret).map { "\($0)" }
                ?? self.reader.stringArray(forKey: name, isSecret: key.isSecret).map { "\($0)" }
            guard let other, other != "\"\"" else { return }
            throw Self.error(key, other, expected)
        }

        private static func error(_ key: ClientKey, _ value: String, _ expected: String) -> AMQPError {
            let shown = key.isSecret ? "of another type" : value
            return AMQPError(condition: .invalidArgument, detail: "\(key.rawValue) is \(shown): it must be \(expected)")
        }

        /// Returns the error of a check that names a property, with the key in place of the property. A key is the
        /// property's name after a prefix. The value 0 of a key removes the limit, as `nil` of the property does.
        static func naming(_ error: AMQPError) -> AMQPError {
            var error = error
            error.detail = "amqp.\(error.detail.replacing("or nil", with: "or 0"))"
            return error
        }
    }

    extension Substring {
        fileprivate var trimmingSpaces: String {
            var text = self
            while text.first?.isWhitespace == true { text.removeFirst() }
            while text.last?.isWhitespace == true { text.removeLast() }
            return String(text)
        }
    }
#endif
