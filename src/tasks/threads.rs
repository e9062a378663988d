//! `to_thread`: a function in another thread, awaited.

use super::coroutine::{Behaviour, Coroutine, coroutine};
use crate::engine::asyncio::asyncio;
use crate::py::{Any, Args, AsObject, Own, Res, Sent, context, names, type_error, value};

static TO_THREAD: Behaviour = Behaviour { qualname: "to_thread", resume };

/// `to_thread(func, /, *args, **kwargs)`.
pub(super) fn to_thread(args: Args<'_>) -> Res<Own<Coroutine>> {
    if args.positional.is_empty() {
        return Err(type_error("to_thread() missing 1 required positional argument: 'func'"));
    }
    let (mut keywords, mut values) = (Vec::new(), Vec::new());
    args.each_keyword(|name, value| {
        keywords.push(name);
        values.push(value);
        Ok(())
    })?;
    let positional = value::tuple(args.positional)?;
    let call = value::tuple(&[&positional, &*value::tuple(&keywords)?, &*value::tuple(&values)?])?;
    coroutine(&TO_THREAD, Some(call), None)
}

fn resume(this: &Coroutine, exception: Option<Own<Any>>) -> Res<Sent> {
    if this.place.get() == 0 {
        this.place.set(1);
        let event_loop = asyncio().get_running_loop.call(&[])?;
        let given = this.owner.take().unwrap_or_else(value::none);
        let [positional, keywords, values] = value::tuple_items(&given) else {
            return super::coroutine::returned_none();
        };
        let context = context::copy_current()?;
        let run = context.attr(&names::RUN)?;
        let mut all = vec![&*run];
        all.extend_from_slice(value::tuple_items(positional));
        all.extend_from_slice(value::tuple_items(values));
        let call = if value::tuple_items(keywords).is_empty() {
            asyncio().partial.call(&all)?
        } else {
            asyncio().partial.call_with_names(&all, keywords)?
        };
        let none = value::none_ref();
        let future = event_loop.call_method(&names::RUN_IN_EXECUTOR, &[none, call.as_any()])?;
        this.await_inner(&future)?;
    }
    this.drive(exception)
}
