// SPDX-License-Identifier: Apache-2.0

/// A list that usually is empty or holds one element. Neither needs an allocation.
struct FewElements<Element> {
    private var first: Element?
    private var others: [Element] = []

    mutating func append(_ element: Element) {
        if self.first == nil { self.first = element } else { self.others.append(element) }
    }

    /// Calls a closure with each element in order.
    func forEach(_ body: (Element) -> Void) {
        guard let first = self.first else { return }
        body(first)
        for other in self.others { body(other) }
    }
}

extension FewElements: Sendable where Element: Sendable {}
