// Package load puts a system under load and measures what its users see.
//
// Run is an open loop: requests are sent when the plan says so, however long the answers to earlier ones take, and the
// time of an answer counts from the moment at which its request was due. A generator that waits for answers sends less
// when the system is slow, and so leaves out just the requests that would have been slow (coordinated omission).
//
// Shop places orders over keep-alive connections and tells accepted from refused. Ends follows the public topic of order
// events, so that what is measured is when an order came to its end, and not only that somebody promised to begin.
package load
