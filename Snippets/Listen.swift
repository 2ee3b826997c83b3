// SPDX-License-Identifier: Apache-2.0

// Listens for connections, and prints what their peers send to the address "greetings".

import QpidProton

let listener = try await AMQPListener.bind(host: "127.0.0.1", port: 5672)
try await withThrowingDiscardingTaskGroup { group in
    for try await connection in listener {
        group.addTask { await serve(connection) }
    }
}

/// Answers every session and link that the peer requests, until the peer closes the connection.
func serve(_ connection: AMQPConnection) async {
    await withDiscardingTaskGroup { group in
        do {
            for try await request in connection.incoming {
                switch request {
                case .session(let session):
                    // In order, before the links on it. It may have ended meanwhile.
                    _ = try? await session.accept()
                case .receiver(let link):
                    group.addTask { await receive(link) }
                case .sender(let link):
                    link.refuse(AMQPError(scope: .link, condition: .notAllowed, detail: "nothing is sent from here"))
                }
            }
        } catch {
            print("\(connection.peer.containerID): \(error)")
        }
    }
}

/// Prints the messages of one link. An error ends this link, and no other.
func receive(_ link: AMQPIncomingReceiver) async {
    guard link.attach.target?.address == "greetings" else {
        return link.refuse(AMQPError(scope: .link, condition: .notFound, detail: "there is only 'greetings'"))
    }
    do {
        for try await delivery in try await link.accept() {
            do {
                print(try delivery.decodeMessage().bodyString ?? "no text")
                delivery.accept()
            } catch {
                delivery.reject(error)
            }
        }
    } catch {
        print("\(link.attach.name): \(error)")
    }
}
