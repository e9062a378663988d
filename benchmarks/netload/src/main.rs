//! What the network benchmark measures with: a load client, and bare servers
//! that do the same as the Python ones with nothing around the system calls.
//!
//! One program, because both ends need the same few wrappers. It depends on
//! nothing of aioxide and aioxide depends on nothing here; the harness in
//! `benchmarks/net/` builds and runs it. Each client mode prints one JSON
//! object; a server prints its address and serves until it is killed.

mod arguments;
mod bulk;
mod certificate;
mod channel;
mod clock;
mod closed_loop;
mod histogram;
mod http;
mod report;
mod server;
mod short;
mod sockets;
mod tls;
mod udp;

use std::error::Error;
use std::process::ExitCode;

use arguments::Arguments;

const USAGE: &str = "\
netload serve-tcp --service echo|upload|download [--unix PATH] [--buffer BYTES]
netload serve-udp
netload certificate
netload echo    --to ADDRESS --group NAME:CONNECTIONS:BYTES ... [--idle N] --seconds S
netload short   --to ADDRESS --count N --concurrency N --size BYTES
netload http    --to ADDRESS --connections N --body TEXT --seconds S
netload upload | download --to ADDRESS --bytes N
netload udp     --to ADDRESS --sockets N --window N --size BYTES --seconds S
echo, short, http: [--tls 1.3]
every client: [--warmup S] [--server-pid PID] (whose processor time is counted)";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::from_command_line()?;
    sockets::raise_descriptor_limit();
    let report = match arguments.mode() {
        "serve-tcp" => {
            let buffer = arguments.number_or("buffer", 64 * 1024)?;
            return Ok(server::tcp(arguments.text("service"), arguments.text("unix"), buffer)?);
        }
        "serve-udp" => return Ok(server::udp()?),
        "certificate" => {
            print!("{}", certificate::new()?);
            return Ok(());
        }
        "echo" => closed_loop::run(&arguments)?,
        "short" => short::run(&arguments)?,
        "http" => http::run(&arguments)?,
        "upload" => bulk::upload(&arguments)?,
        "download" => bulk::download(&arguments)?,
        "udp" => udp::run(&arguments)?,
        _ => return Err(USAGE.into()),
    };
    println!("{report}");
    Ok(())
}
