// Listens for connections, and prints what their peers send to the address "greetings".

import QpidProton

let listener = try await AMQPListener.bind(host: "127.0.0.1", port: 5672)
try await withThrowingDiscardingTaskGroup { group in
    for try await connection in listener {
        group.addTask { await serve(connection) }
    }
}

/// Decides on every session and link that the peer asks for.
func serve(_ connection: AMQPConnection) async {
    do {
        try await withThrowingDiscardingTaskGroup { group in
            for try await wish in connection.incoming {
                switch wish {
                case .session(let session):
                    try await session.accept()
                case .receiver(let link) where link.attach.target?.address == "greetings":
                    let receiver = try await link.accept()
                    group.addTask { try await printMessages(of: receiver) }
                case .receiver(let link):
                    link.refuse(AMQPError(scope: .link, condition: .notFound, detail: "there is only 'greetings'"))
                case .sender(let link):
                    link.refuse(AMQPError(scope: .link, condition: .notAllowed, detail: "nothing is sent from here"))
                }
            }
        }
    } catch let error as AMQPError where error.condition == .closed {
        // The peer closed the connection in order, and left its links to it.
    } catch {
        print("\(connection.peer.containerID): \(error)")
    }
}

func printMessages(of receiver: AMQPReceiver) async throws {
    for try await delivery in receiver {
        print(try delivery.decodeMessage().bodyString ?? "no text")
        delivery.accept()
    }
}
