// Package logstore keeps one service's log on disk: it appends lines in batches,
// rotates and compresses, and reads back what is there.
//
// The files of a service are <service>.log, which grows, and <service>.log.1 to
// .log.<MaxFiles-1> behind it, the newest first; all but .log and .log.1 may end in .gz.
//
// In the format json a line of the file is one LogEntry:
//
//	{"time","service","stream","pid","seq","message"[,"level"][,"fields"][,"partial"]}
//
// where bytes that are not UTF-8 stand as message_b64 in the place of message. In the
// format raw the files hold what the service wrote and nothing else; the last number
// given to a line is then kept in <service>.seq.
//
// Store and Read need not know each other: Read opens the newest file first and the
// others after it, so a rotation meanwhile hides nothing from it.
package logstore
