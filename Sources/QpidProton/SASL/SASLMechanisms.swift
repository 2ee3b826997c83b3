// SPDX-License-Identifier: Apache-2.0

/// ANONYMOUS, RFC 4505: a login without a user.
struct SASLAnonymous: SASLClientMechanism, SASLServerMechanism {
    let name = "ANONYMOUS"

    // The response is empty, not null: the trace information of RFC 4505 is optional, and a null would require a
    // challenge.
    func initialResponse() -> [UInt8]? { [] }

    func step(_ response: [UInt8]?) -> SASLServerStep { .accept(username: nil) }
}

/// EXTERNAL, RFC 4422 appendix A: the TLS layer has authenticated the client.
struct SASLExternalClient: SASLClientMechanism {
    let name = "EXTERNAL"

    // The response is empty, because the server reads the identity from the certificate.
    func initialResponse() -> [UInt8]? { [] }
}

/// EXTERNAL on the server's side. The server offers it only if TLS has verified a certificate of the client.
struct SASLExternalServer: SASLServerMechanism {
    let name = "EXTERNAL"
    /// The common name in the client's certificate.
    let certificateName: String?

    func step(_ response: [UInt8]?) -> SASLServerStep {
        guard let response, !response.isEmpty else { return .accept(username: self.certificateName) }
        // A client may not act under an identity that its certificate does not name.
        guard let name = self.certificateName, response.elementsEqual(name.utf8) else {
            return .refuse("the client requested an identity that its certificate does not name")
        }
        return .accept(username: name)
    }
}

/// PLAIN, RFC 4616: the user and the password in clear text.
struct SASLPlainClient: SASLClientMechanism {
    let name = "PLAIN"
    let revealsPassword = true
    let username: String
    let password: Redacted<String>

    init(username: String, password: Redacted<String>) {
        self.username = username
        self.password = password
    }

    /// Creates the mechanism. Throws if PLAIN cannot encode the login.
    init(checking username: String, _ password: Redacted<String>) throws(AMQPError) {
        self.init(username: username, password: password)
        _ = try self.initialResponse()
    }

    func initialResponse() throws(AMQPError) -> [UInt8]? {
        if self.username.isEmpty {
            throw AMQPError(condition: .invalidArgument, detail: "the user of SASL PLAIN is empty: set a name")
        }
        try CheckedText.check(self.username, "the user of SASL PLAIN")
        try CheckedText.check(self.password.value, "the password of SASL PLAIN")
        return [0] + Array(self.username.utf8) + [0] + Array(self.password.value.utf8)
    }
}

/// PLAIN on the server's side.
struct SASLPlainServer: SASLServerMechanism {
    let name = "PLAIN"
    let check: @Sendable (_ username: String, _ password: String) async -> Bool

    func step(_ response: [UInt8]?) -> SASLServerStep {
        // RFC 4422 §5.1: without an initial response the server requests it with an empty challenge.
        guard let response else { return .challenge([]) }
        let parts = response.split(separator: 0, omittingEmptySubsequences: false)
        guard parts.count == 3,
            let authorization = String(validating: parts[0], as: UTF8.self),
            let username = String(validating: parts[1], as: UTF8.self),
            let password = String(validating: parts[2], as: UTF8.self),
            !username.isEmpty
        else {
            return .refuse("its PLAIN message is malformed")
        }
        guard authorization.isEmpty || authorization.utf8.elementsEqual(username.utf8) else {
            return .refuse("it requested to act as another user than the one of its login")
        }
        let check = self.check
        return .check {
            await check(username, password) ? .accept(username: username) : .refuse("the user or the password is wrong")
        }
    }
}
