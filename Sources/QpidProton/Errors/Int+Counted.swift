// SPDX-License-Identifier: Apache-2.0

extension Int {
    /// Returns the number with its noun.
    func counted(_ one: String, _ many: String) -> String { "\(self) \(self == 1 ? one : many)" }
}
