// SPDX-License-Identifier: Apache-2.0

/// A list that removes elements anywhere in constant time: doubly linked, in one array.
///
/// An element has a place, which another element reuses after its removal. A place that does not exist is -1.
struct PlaceList<Element> {
    fileprivate struct Place {
        var element: Element?
        var previous = -1
        var next = -1
    }

    private var places: [Place] = []
    private var free: [Int] = []
    /// The places of the first and the last element; -1 if the list is empty.
    private(set) var first = -1
    private(set) var last = -1

    /// The element at a place; `nil` if there is none.
    subscript(place: Int) -> Element? {
        _read {
            if self.places.indices.contains(place) { yield self.places[place].element } else { yield nil }
        }
        _modify { yield &self.places[place].element }
    }

    /// Returns the place behind a place; -1 at the end.
    func next(_ place: Int) -> Int { self.places[place].next }

    /// Returns the place before a place; -1 at the front.
    func previous(_ place: Int) -> Int { self.places[place].previous }

    /// Adds an element at the end, and returns its place.
    mutating func append(_ element: Element) -> Int {
        let place = self.freePlace()
        self.places[place] = Place(element: element, previous: self.last, next: -1)
        if self.last >= 0 { self.places[self.last].next = place } else { self.first = place }
        self.last = place
        return place
    }

    /// Adds an element behind another, and returns its place.
    ///
    /// - Parameter previous: The place of the other element; -1 to add the element at the front.
    mutating func insert(_ element: Element, after previous: Int) -> Int {
        let next = previous >= 0 ? self.places[previous].next : self.first
        guard next >= 0 else { return self.append(element) }
        let place = self.freePlace()
        self.places[place] = Place(element: element, previous: previous, next: next)
        self.places[next].previous = place
        if previous >= 0 { self.places[previous].next = place } else { self.first = place }
        return place
    }

    private mutating func freePlace() -> Int {
        if let reused = self.free.popLast() { return reused }
        self.places.append(Place())
        return self.places.count - 1
    }

    /// Removes the element at a place.
    @discardableResult
    mutating func remove(_ place: Int) -> Element? {
        let element = self.places[place].element.take()
        let (previous, next) = (self.places[place].previous, self.places[place].next)
        if previous >= 0 { self.places[previous].next = next } else { self.first = next }
        if next >= 0 { self.places[next].previous = previous } else { self.last = previous }
        self.places[place] = Place()
        self.free.append(place)
        if self.first < 0 {
            // The empty list releases the memory of a burst.
            self.places.removeAll(keepingCapacity: self.places.count <= 1_024)
            self.free.removeAll(keepingCapacity: self.free.count <= 1_024)
        }
        return element
    }
}

extension PlaceList: Sendable where Element: Sendable {}
extension PlaceList.Place: Sendable where Element: Sendable {}
