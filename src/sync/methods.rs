//! What the primitives' types have in common: methods that are coroutines, `async with`, and
//! following a subclass where it has a method of its own.

use crate::py::function::{add_to_class, method, model_of};
use crate::py::names::Name;
use crate::py::{Any, Args, Class, Object, Own, Res, Sent, names, type_error};
use crate::tasks::coroutine::{Coroutine, returned_none};

/// Adds a method that returns a coroutine, modelled after the stock class's.
pub(crate) fn add_async_methods<S: Class, F>(
    class: &Any,
    model: &Any,
    name: &'static Name,
    function: F,
) -> Res<()>
where
    F: Fn(&Object<S>, Args<'_>) -> Res<Own<Coroutine>> + Copy,
{
    add_to_class(class, name, &*method(model_of(model, name)?, function)?)
}

/// Adds `__aenter__` and `__aexit__`.
pub(crate) fn add_context_manager<S: Class, F, G>(class: &Any, model: &Any, _: F, _: G) -> Res<()>
where
    F: Fn(&Object<S>) -> Res<Own<Coroutine>> + Copy,
    G: Fn(&Object<S>) -> Res<Own<Coroutine>> + Copy,
{
    let enter = method(model_of(model, &names::AENTER)?, |this: &Object<S>, args: Args<'_>| {
        expect(&args, "__aenter__", 0)?;
        crate::py::conjure::<F>()(this)
    })?;
    add_to_class(class, &names::AENTER, &enter)?;
    let exit = method(model_of(model, &names::AEXIT)?, |this: &Object<S>, args: Args<'_>| {
        expect(&args, "__aexit__", 3)?;
        crate::py::conjure::<G>()(this)
    })?;
    add_to_class(class, &names::AEXIT, &exit)
}

#[inline(always)]
fn expect(args: &Args<'_>, method: &str, count: usize) -> Res<()> {
    if args.positional.len() == count && args.has_no_keywords() {
        return Ok(());
    }
    let given = args.positional.len();
    Err(type_error(&format!("{method}() takes {count} positional arguments ({given} given)")))
}

/// `await` what `begin` returns, and return None.
pub(crate) fn follow(
    this: &Coroutine,
    exception: Option<Own<Any>>,
    place: u8,
    begin: impl FnOnce() -> Res,
) -> Res<Sent> {
    match follow_result(this, exception, place, begin)? {
        Sent::Yielded(yielded) => Ok(Sent::Yielded(yielded)),
        Sent::Returned(_) => returned_none(),
    }
}

/// `await` what `begin` returns, standing at `place`.
pub(crate) fn follow_result(
    this: &Coroutine,
    exception: Option<Own<Any>>,
    place: u8,
    begin: impl FnOnce() -> Res,
) -> Res<Sent> {
    if this.place.get() != place {
        this.await_inner(&*begin()?)?;
        this.place.set(place);
    }
    this.drive(exception)
}
