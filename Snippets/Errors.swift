// SPDX-License-Identifier: Apache-2.0

// Pieces of the article "Errors".

import QpidProton

func tellApart() async throws {
    // snippet.conditions
    do {
        let connection = try await AMQPConnection.connect(to: "amqp://localhost")
        let session = try await connection.openSession()
        let sender = try await session.openSender(to: "greetings")
        try await sender.send(AMQPMessage(body: "hello"))
        await connection.close()
    } catch {
        switch error.condition {
        case _ where error.isRetryable: print("try again later:", error)
        case .invalidArgument: print("correct the URL or the configuration:", error)
        case .unauthorizedAccess: print("check the user and the password:", error)
        case .notFound: print("the peer has no such node:", error)
        case "com.example:closed-for-lunch": print("a condition that one peer has defined:", error)
        default: print(error)
        }
    }
    // snippet.end
}

func scopes(_ error: AMQPError) {
    // snippet.scopes
    switch error.scope {
    case .connection: print("connect again")
    case .session: print("open the session and its links again")
    case .link: print("open the link again")
    case .delivery: print("this message alone has failed")
    default: print("nothing has ended: \(error.detail)")
    }
    // snippet.end
}

func watch(_ connection: AMQPConnection) async {
    // snippet.watch
    do {
        try await connection.waitUntilClosed()
        print("closed in order")
    } catch {
        print("lost, or closed with an error:", error)
    }
    // snippet.end
}

func cancel(_ sender: AMQPSender, _ message: AMQPMessage) async throws {
    // snippet.cancel
    let task = Task { try await sender.send(message) }
    task.cancel()
    do {
        print(try await task.value)
    } catch let error as AMQPError where error.fate == .inDoubt {
        if let tracker = error.tracker { print("on its way:", try await tracker.outcome()) }
    } catch let error as AMQPError where error.fate == .notSent {
        print("taken back:", error)
    }
    // snippet.end
}

func refuse(_ link: AMQPIncomingSender) {
    // snippet.refuse
    link.refuse(AMQPError(scope: .link, condition: .notFound, detail: "there is no such queue"))
    // snippet.end
}
